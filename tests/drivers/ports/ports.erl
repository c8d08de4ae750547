%% What a linked-in driver can do with its ports, compared between runtimes: how they end, queues, busy ports, monitors.
-module(ports).
-export([main/0]).

-define(BUSY, 1).
-define(ENQ, 2).
-define(DEQ, 3).
-define(CREATE, 4).
-define(FAILURE, 5).
-define(EXIT, 9).
-define(REMEMBER, 10).
-define(FAIL_OTHER, 11).
-define(MONITOR, 12).
-define(DEMONITOR, 13).
-define(SELECT, 14).
-define(ASYNC, 15).
-define(LOCK, 16).
-define(OS_PID, 17).
-define(NO_BINARY, 18).
-define(FLAGS, 19).
-define(LIMITS, 20).
-define(WAIT, 21).
-define(IS_WAITING, 22).
-define(GO_ON, 23).
-define(OPEN_FILE, 24).

main() ->
    process_flag(trap_exit, true),
    ok = erl_ddll:load(".", ports_drv),
    lists:foreach(
      fun(Case) -> io:format("~s: ~0p~n", [Case, steps(Case)]) end,
      [starts, echo, failures, eof, exits, another, lingers, killed, lingers_failed, busy, busy_closed, busy_sent, busy_killed, limits, created, monitors, late_monitors, descriptor, async,
       lock, info, files]).

steps(starts) ->
    [catch_(fun() -> open_port({spawn_driver, "ports_drv " ++ How}, []) end) || How <- ["general", "badarg", "errno"]]
    ++ [catch_(fun() -> open_port({spawn_driver, "ports_drv"}, [exit_status]) end)];
steps(echo) ->
    [begin
         Port = open(Options),
         Port ! {self(), {command, Data}},
         port_command(Port, Data),
         [port_control(Port, ?FLAGS, []), got(Port), close(Port)]
     end || {Options, Data} <- [{[], "abc"}, {[binary], "abc"}, {[binary], ""}, {[], ""}]];
steps(failures) ->
    %% {Operation, argument}: the reason of the exit signal.
    [begin
         Port = open([]),
         Monitor = monitor(port, Port),
         {catch_(fun() -> port_control(Port, Operation, Argument), ok end), got(Port, Monitor), erlang:port_info(Port)}
     end || {Operation, Argument} <- [{5, [3]}, {5, [0]}, {6, []}, {7, []}, {8, []}]];
steps(eof) ->
    Port = open([eof]),
    [port_control(Port, 8, []), got(Port), is_list(erlang:port_info(Port)), close(Port)];
steps(exits) ->
    [begin
         Port = open([]),
         Monitor = monitor(port, Port),
         port_control(Port, ?EXIT, [Errno]),
         {links(), got(Port, Monitor)}
     end || Errno <- [0, 32]];
steps(another) ->
    %% A callback of one port ends another.
    {First, Second} = {open([]), open([])},
    port_control(First, ?REMEMBER, []),
    [port_control(Second, ?FAIL_OTHER, []), got(First), port_control(Second, ?FLAGS, []), close(Second), got(Second)];
steps(lingers) ->
    Port = open([]),
    port_control(Port, ?ENQ, "to be written"),
    Size = erlang:port_info(Port, queue_size),
    Port ! {self(), close},
    timer:sleep(20),
    Meanwhile = erl_ddll:info(ports_drv, port_count),
    Told = [receive {'EXIT', Port, Why} -> Why end, receive {Port, closed} -> closed after 5000 -> not_closed end, got(Port)],
    [Size, Meanwhile, Told, erl_ddll:info(ports_drv, port_count)];
steps(killed) ->
    Port = open([]),
    port_control(Port, ?ENQ, "to be dropped"),
    exit(Port, kill),
    [got(Port), erl_ddll:info(ports_drv, port_count)];
steps(lingers_failed) ->
    %% A driver that fails does not write what it has.
    Port = open([]),
    port_control(Port, ?ENQ, "to be dropped"),
    port_control(Port, 6, []),
    [got(Port), erl_ddll:info(ports_drv, port_count)];
steps(busy) ->
    Port = open([]),
    port_control(Port, ?BUSY, [1]),
    Not = [port_command(Port, "a", [nosuspend]), catch_(fun() -> port_command(Port, "a", [force]) end)],
    Self = self(),
    Writer = spawn_link(fun() -> port_command(Port, "waited"), Self ! written end),
    Before = {receive written -> written after 100 -> is_process_alive(Writer) end, got(Port)},
    port_control(Port, ?BUSY, [0]),
    receive written -> ok end,
    [Not, Before, got(Port), close(Port), got(Port)];
steps(busy_closed) ->
    Port = open([]),
    port_control(Port, ?BUSY, [1]),
    Self = self(),
    spawn_link(fun() -> Self ! {written, catch_(fun() -> port_command(Port, "never") end)} end),
    timer:sleep(50),
    close(Port),
    [receive {written, Result} -> Result end, got(Port)];
steps(busy_sent) ->
    %% The owner waits when it sends a command, unless it does not want to.
    Port = open([]),
    Self = self(),
    Owner = spawn_link(fun() ->
                           receive go -> ok end,
                           Not = erlang:send(Port, {self(), {command, "not"}}, [nosuspend]),
                           Port ! {self(), {command, "waited"}},
                           Self ! {sent, Not},
                           receive stop -> ok end
                       end),
    true = port_connect(Port, Owner),
    port_control(Port, ?BUSY, [1]),
    Owner ! go,
    Before = receive {sent, _} = Sent -> Sent after 100 -> {process_info(Owner, status), erlang:port_info(Port, output)} end,
    port_control(Port, ?BUSY, [0]),
    After = receive {sent, Not} -> Not after 5000 -> still_waits end,
    [Before, After, erlang:port_info(Port, output), close(Port)];
steps(busy_killed) ->
    %% What somebody wants to send that is gone meanwhile is not sent.
    Port = open([]),
    Owner = spawn(fun() -> receive go -> Port ! {self(), {command, "never"}} end end),
    true = port_connect(Port, Owner),
    port_control(Port, ?BUSY, [1]),
    Owner ! go,
    timer:sleep(50),
    exit(Owner, kill),
    timer:sleep(50),
    catch port_control(Port, ?BUSY, [0]),
    [is_process_alive(Owner), erlang:port_info(Port), got(Port)];
steps(limits) ->
    %% Of the queue of commands, in units of 256 bytes; 0 asks for the present one.
    Port = open([]),
    [[port_control(Port, ?LIMITS, [Low, High]) || {Low, High} <- [{0, 0}, {0, 8}, {20, 0}, {7, 5}, {3, 9}, {0, 0}]], close(Port)];
steps(created) ->
    Port = open([binary, {parallelism, true}]),
    port_control(Port, ?CREATE, []),
    Child = receive {created, New, Flags} -> io:format("~p ", [Flags]), New end,
    Info = [erlang:port_info(Child, Item) =:= {Item, Value}
            || {Item, Value} <- [{connected, self()}, {links, [self()]}, {name, "a child"}, {parallelism, true}]],
    port_command(Child, "x"),
    [Info, lists:member(Child, links()), got(Child), erl_ddll:info(ports_drv, port_count), close(Port), got(Port), port_control(Child, ?FLAGS, []),
     close(Child), got(Child), erl_ddll:info(ports_drv, port_count)];
steps(monitors) ->
    Port = open([]),
    Self = self(),
    Pid = spawn(fun() -> Self ! {monitored, port_control(Port, ?MONITOR, [])}, receive stop -> ok end end),
    Answer = receive {monitored, Result} -> Result end,
    Shown = {erlang:port_info(Port, monitors) =:= {monitors, [{process, Pid}]}, process_info(Pid, monitored_by) =:= {monitored_by, [Port]}},
    Pid ! stop,
    Ended = got(Port),
    Again = [port_control(Port, ?MONITOR, []), erlang:port_info(Port, monitors) =:= {monitors, [{process, Self}]}, port_control(Port, ?DEMONITOR, []),
             port_control(Port, ?DEMONITOR, []), erlang:port_info(Port, monitors)],
    [Answer, Shown, Ended, Again, close(Port), got(Port)];
steps(late_monitors) ->
    %% Asked for while a callback runs that ends the port, or does not, and before.
    [begin
         {Port, Other, Self} = {open([]), open([]), self()},
         Before = monitor(port, Port),
         Pinned = process_flag(scheduler, 1),
         spawn_opt(fun() ->
                           wait_for_callback(Other),
                           Late = monitor(port, Port),
                           port_control(Other, ?GO_ON, []),
                           receive {'DOWN', Late, port, Port, Why} -> Self ! {late, Why} end
                   end, [link, {scheduler, erlang:system_info(schedulers_online)}]),
         port_control(Port, ?WAIT, [Fails]),
         process_flag(scheduler, Pinned),
         unlink(Port),
         catch exit(Port, ended),
         [receive {late, Why} -> Why after 5000 -> no_down end, got(Port, Before), close(Other)]
     end || Fails <- [1, 0]];
steps(descriptor) ->
    %% No system call waits for /dev/zero: it can always be read.
    Port = open([]),
    [port_control(Port, ?SELECT, []), got(Port), close(Port), got(Port)];
steps(async) ->
    Port = open([]),
    [port_control(Port, ?ASYNC, []), got(Port), close(Port), got(Port)];
steps(lock) ->
    Port = open([]),
    [port_control(Port, ?LOCK, []), close(Port), got(Port)];
steps(info) ->
    Port = open([]),
    Before = erlang:port_info(Port, os_pid),
    port_control(Port, ?OS_PID, []),
    [Before, erlang:port_info(Port, os_pid), port_control(Port, ?NO_BINARY, []), catch_(fun() -> port_control(Port, 99, []) end),
     catch_(fun() -> erlang:port_call(Port, 1, x) end), close(Port), got(Port)];
steps(files) ->
    Port = open([]),
    [port_control(Port, ?OPEN_FILE, []), close(Port)].

wait_for_callback(Port) ->
    case port_control(Port, ?IS_WAITING, []) of
        [1] -> ok;
        [0] -> timer:sleep(1), wait_for_callback(Port)
    end.

open(Options) -> open_port({spawn_driver, ports_drv}, Options).
close(Port) -> unlink(Port), port_close(Port).
catch_(Fun) -> try Fun() catch Class:Reason -> {Class, Reason} end.
links() -> {links, Links} = process_info(self(), links), [Link || Link <- Links, is_port(Link)].

%% What has come of a port, in some order, and in the order it came.
got(Port) -> lists:sort(got_in_order(Port)).
got(Port, Monitor) ->
    receive
        {'DOWN', Monitor, port, Port, Why} -> lists:sort([{down, Why} | got(Port)])
    after 300 -> [no_down | got(Port)]
    end.
got_in_order(Port) ->
    receive
        {'EXIT', Port, Why} -> [{exit, Why} | got_in_order(Port)];
        {Port, What} -> [What | got_in_order(Port)];
        {Tag, Port, Number} when is_integer(Number) -> [{Tag, Number} | got_in_order(Port)]
    after 200 -> []
    end.
