%% Programs behind ports: what is written and read, when writers wait, how programs and ports end.
-module(program_ports).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    Big = binary:copy(<<"0123456789">>, 100000),
    Steps = [fun() -> echoed(Big) end, fun() -> many() end, fun() -> statuses() end, fun() -> busy(Big) end, fun() -> waits(Big) end, fun() -> sends(Big) end,
             fun() -> written_behind_the_close(Big) end, fun() -> ends() end, fun() -> killed(Big) end, fun() -> left_over() end],
    [io:format("~p~n", [Step()]) || Step <- Steps].

echoed(Big) ->
    Port = open_port({spawn, "cat"}, [binary, stream]),
    true = port_command(Port, [Big, "a", [<<"b">>, Big]]),
    Bytes = collect(Port, 2000002, []),
    true = port_close(Port),
    erlang:md5(Bytes).

%% Each is answered in order.
many() ->
    Ports = [open_port({spawn_executable, "/bin/cat"}, [{packet, 2}]) || _ <- lists:seq(1, 40)],
    [Port ! {self(), {command, integer_to_list(N)}} || N <- lists:seq(1, 5), Port <- Ports],
    Answers = [[receive {Port, {data, Data}} -> Data end || _ <- lists:seq(1, 5)] || Port <- Ports],
    [Port ! {self(), close} || Port <- Ports],
    Closed = [receive {Port, closed} -> closed end || Port <- Ports],
    {lists:usort(Answers), lists:usort(Closed)}.

statuses() ->
    [begin
         Port = open_port({spawn, Command}, [exit_status, stderr_to_stdout | Options]),
         told(Port)
     end || {Command, Options} <- [{"true", []}, {"false", []}, {"sh -c 'kill -9 $$'", []}, {"sh -c 'echo text; exit 3'", []}, {"sh -c 'printf half; exit 4'", [{line, 10}]},
                                   {"sh -c 'echo x >&2'", [eof]}, {"true", [out]}, {"sh -c 'exec >&-; sleep 0.2; exit 5'", [in]}]].

told(Port) ->
    receive
        {Port, {data, Data}} -> [{data, Data} | told(Port)];
        {Port, eof} -> [eof | told(Port)];
        {Port, Other} -> [Other | told(Port)];
        {'EXIT', Port, Reason} -> [{'EXIT', Reason}]
    after 4000 -> [catch port_close(Port)]
    end.

%% A full pipe and a queue over the limit make the port busy.
busy(Big) ->
    Port = open_port({spawn, "sleep 2"}, [out]),
    Results = [port_command(Port, Big, [nosuspend]) || _ <- lists:seq(1, 3)],
    Queued = element(2, erlang:port_info(Port, queue_size)) > 8192,
    Forced = try port_command(Port, Big, [force]) catch error:Reason -> Reason end,
    port_close(Port),
    {Results, Queued, Forced}.

%% A writer waits until the program has read.
waits(Big) ->
    Self = self(),
    Port = open_port({spawn, "sh -c 'sleep 1; cat > /dev/null'"}, [binary, in, out]),
    Writer = spawn_link(fun() ->
        [port_command(Port, Big) || _ <- lists:seq(1, 3)],
        Self ! {self(), written}
    end),
    First = receive {Writer, written} -> early after 100 -> waits end,
    Second = receive {Writer, written} -> written after 5000 -> late end,
    receive {'EXIT', Writer, normal} -> ok end,
    port_close(Port),
    {First, Second}.

sends(Big) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        Port = open_port({spawn, "sh -c 'sleep 1; cat'"}, [binary]),
        [Port ! {self(), {command, Big}} || _ <- lists:seq(1, 2)],
        Self ! {self(), sent},
        Self ! {self(), byte_size(collect(Port, 2 * byte_size(Big), []))}
    end),
    First = receive {Pid, sent} -> early after 100 -> waits end,
    Second = receive {Pid, sent} -> sent end,
    Bytes = receive {Pid, Count} -> Count end,
    receive {'EXIT', Pid, normal} -> ok end,
    {First, Second, Bytes}.

written_behind_the_close(Big) ->
    File = filename:join("/tmp", "program_ports-" ++ os:getpid()),
    Port = open_port({spawn, "sh -c 'sleep 0.2; exec cat > " ++ File ++ "'"}, [out]),
    port_command(Port, Big),
    port_close(Port),
    Size = wait_for(fun() -> filelib:file_size(File) =:= byte_size(Big) end, 200),
    file:delete(File),
    Size.

ends() ->
    Port = open_port({spawn, "sleep 0.2"}, [out]),
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    gone = wait_for(fun() -> is_gone(OsPid) end, 200),
    catch port_command(Port, <<"text">>),
    receive {'EXIT', Port, Reason} -> Reason after 1000 -> none end.

killed(Big) ->
    Port = open_port({spawn, "sleep 1"}, [out]),
    port_command(Port, Big, [nosuspend]),
    exit(Port, kill),
    receive {'EXIT', Port, Reason} -> Reason after 1000 -> none end.

%% No zombies.
left_over() ->
    Ports = [open_port({spawn, "cat"}, []) || _ <- lists:seq(1, 20)],
    OsPids = [element(2, erlang:port_info(Port, os_pid)) || Port <- Ports],
    [port_close(Port) || Port <- Ports],
    wait_for(fun() -> lists:all(fun is_gone/1, OsPids) end, 200).

is_gone(OsPid) -> not filelib:is_dir("/proc/" ++ integer_to_list(OsPid)).

wait_for(_, 0) -> never;
wait_for(Is, Times) ->
    case Is() of
        true -> gone;
        false -> timer:sleep(50), wait_for(Is, Times - 1)
    end.

collect(_, Bytes, Parts) when Bytes =< 0 -> iolist_to_binary(lists:reverse(Parts));
collect(Port, Bytes, Parts) ->
    receive {Port, {data, Data}} -> collect(Port, Bytes - byte_size(Data), [Data | Parts])
    after 5000 -> {missing, Bytes}
    end.
