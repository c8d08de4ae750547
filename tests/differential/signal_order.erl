%% What the reference manual promises about the order of signals, each promise many times over.
-module(signal_order).
-export([main/0, child/1, quit/0]).

-define(ROUNDS, 300).

main() ->
    [check(Name, Round) || {Name, Round} <- rounds()].

%% How many rounds came out wrong.
check(Name, Round) ->
    process_flag(trap_exit, true),
    Wrong = lists:sum([case Round() of true -> 0; _ -> 1 end || _ <- lists:seq(1, ?ROUNDS)]),
    flush(),
    io:format("~p: ~p~n", [Name, Wrong]).

flush() -> receive _ -> flush() after 0 -> ok end.

rounds() ->
    [{reply_before_exit, fun() -> first_is_reply([link]) end},
     {reply_before_down, fun() -> first_is_reply([monitor]) end},
     {reply_before_both, fun() -> first_is_reply([link, monitor]) end},
     {reply_before_message, fun reply_before_message/0},
     {messages_in_order, fun messages_in_order/0},
     {message_before_exit, fun message_before_exit/0},
     {message_before_down, fun message_before_down/0},
     {unlink_then_nothing, fun unlink_then_nothing/0},
     {demonitor_then_nothing, fun demonitor_then_nothing/0},
     {exit_after_message, fun exit_after_message/0},
     {info_sees_messages, fun info_sees_messages/0},
     {alias_and_pid_in_order, fun alias_and_pid_in_order/0},
     {name_and_pid_in_order, fun name_and_pid_in_order/0},
     {unalias_then_nothing, fun unalias_then_nothing/0},
     {monitor_before_exit, fun monitor_before_exit/0},
     {link_before_exit, fun link_before_exit/0},
     {group_leader_before_message, fun group_leader_before_message/0},
     {suspend_is_done, fun suspend_is_done/0},
     {reply_and_down, fun reply_and_down/0},
     {timer_cancelled_is_silent, fun timer_cancelled_is_silent/0},
     {name_free_after_down, fun name_free_after_down/0},
     {table_gone_after_down, fun table_gone_after_down/0},
     {not_alive_after_down, fun not_alive_after_down/0},
     {not_alive_after_exit, fun not_alive_after_exit/0}].

quit() -> ok.

child(Parent) -> Parent ! {child, self()}.

first_is_reply(Options) ->
    Request = spawn_request(?MODULE, quit, [], Options),
    Kind = receive
               {spawn_reply, Request, ok, Child} -> {reply, Child};
               Other -> Other
           end,
    case Kind of
        {reply, Pid} ->
            [receive {'EXIT', Pid, normal} -> ok end || lists:member(link, Options)],
            [receive {'DOWN', Request, process, Pid, normal} -> ok end || lists:member(monitor, Options)],
            true;
        _ -> false
    end.

reply_before_message() ->
    Request = spawn_request(?MODULE, child, [self()], []),
    receive
        {spawn_reply, Request, ok, Child} -> receive {child, Child} -> true end;
        {child, _} -> false
    end.

messages_in_order() ->
    Self = self(),
    Child = spawn(fun() -> [Self ! {N, self()} || N <- lists:seq(1, 20)] end),
    [receive {N, Child} -> N end || _ <- lists:seq(1, 20)] =:= lists:seq(1, 20).

message_before_exit() ->
    Self = self(),
    Child = spawn_link(fun() -> Self ! {last, self()} end),
    receive
        {last, Child} -> receive {'EXIT', Child, normal} -> true end;
        {'EXIT', Child, normal} -> false
    end.

message_before_down() ->
    Self = self(),
    {Child, Monitor} = spawn_monitor(fun() -> Self ! {last, self()} end),
    receive
        {last, Child} -> receive {'DOWN', Monitor, process, Child, normal} -> true end;
        {'DOWN', Monitor, process, Child, normal} -> false
    end.

unlink_then_nothing() ->
    Child = spawn_link(?MODULE, quit, []),
    unlink(Child),
    receive {'EXIT', Child, _} -> ok after 0 -> ok end,
    receive {'EXIT', Child, _} -> false after 1 -> true end.

demonitor_then_nothing() ->
    {Child, Monitor} = spawn_monitor(?MODULE, quit, []),
    demonitor(Monitor, [flush]),
    receive {'DOWN', Monitor, process, Child, _} -> false after 1 -> true end.

exit_after_message() ->
    Self = self(),
    Child = spawn(fun() -> process_flag(trap_exit, true), Self ! ready, Self ! {got, next(), next()} end),
    receive ready -> ok end,
    Child ! message,
    exit(Child, reason),
    receive {got, message, {'EXIT', Self, reason}} -> true; {got, _, _} -> false end.

next() -> receive Message -> Message end.

info_sees_messages() ->
    Child = spawn(fun() -> receive stop -> ok end end),
    [Child ! N || N <- lists:seq(1, 10)],
    {message_queue_len, Length} = process_info(Child, message_queue_len),
    Child ! stop,
    Length =:= 10.

alias_and_pid_in_order() ->
    Self = self(),
    Alias = alias(),
    spawn(fun() -> [case N rem 2 of 0 -> Alias ! N; 1 -> Self ! N end || N <- lists:seq(1, 10)] end),
    Got = [receive N when is_integer(N) -> N end || _ <- lists:seq(1, 10)],
    unalias(Alias),
    Got =:= lists:seq(1, 10).

name_and_pid_in_order() ->
    Self = self(),
    register(signal_order_name, Self),
    Sender = fun(N) when N rem 2 =:= 0 -> signal_order_name ! N; (N) -> Self ! N end,
    spawn(fun() -> [Sender(N) || N <- lists:seq(1, 10)] end),
    Got = [receive N when is_integer(N) -> N end || _ <- lists:seq(1, 10)],
    unregister(signal_order_name),
    Got =:= lists:seq(1, 10).

unalias_then_nothing() ->
    Alias = alias(),
    Pid = spawn(fun() -> Alias ! hello end),
    unalias(Alias),
    receive hello -> ok after 0 -> ok end,
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    receive hello -> false after 0 -> true end.

monitor_before_exit() ->
    Pid = spawn(fun() -> receive after infinity -> ok end end),
    Monitor = monitor(process, Pid),
    exit(Pid, boom),
    receive {'DOWN', Monitor, process, Pid, boom} -> true; {'DOWN', Monitor, process, Pid, _} -> false end.

link_before_exit() ->
    Pid = spawn(fun() -> receive after infinity -> ok end end),
    link(Pid),
    exit(Pid, boom),
    receive {'EXIT', Pid, boom} -> true; {'EXIT', Pid, _} -> false end.

group_leader_before_message() ->
    Self = self(),
    Pid = spawn(fun() -> receive go -> Self ! {leader, group_leader()} end end),
    group_leader(Self, Pid),
    Pid ! go,
    receive {leader, Leader} -> Leader =:= Self end.

suspend_is_done() ->
    Pid = spawn(fun Loop() -> receive {ping, From} -> From ! pong, Loop() after 0 -> Loop() end end),
    erlang:suspend_process(Pid),
    Status = process_info(Pid, status),
    Pid ! {ping, self()},
    Early = receive pong -> early after 1 -> none end,
    erlang:resume_process(Pid),
    case Early of none -> receive pong -> ok end; early -> ok end,
    exit(Pid, kill),
    {Status, Early} =:= {{status, suspended}, none}.

reply_and_down() ->
    {Pid, Monitor} = spawn_monitor(fun() -> receive {From, Ref} -> From ! {Ref, answer} end end),
    Pid ! {self(), Monitor},
    receive
        {Monitor, answer} -> receive {'DOWN', Monitor, process, Pid, normal} -> true end;
        {'DOWN', Monitor, process, Pid, normal} -> false
    end.

timer_cancelled_is_silent() ->
    Timer = erlang:start_timer(rand:uniform(2) - 1, self(), tick),
    case erlang:cancel_timer(Timer) of
        false -> receive {timeout, Timer, tick} -> true after 1000 -> false end;
        Left when is_integer(Left) -> receive {timeout, Timer, tick} -> false after 2 -> true end
    end.

name_free_after_down() ->
    {Pid, Monitor} = spawn_monitor(fun() -> register(signal_order_child, self()) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> whereis(signal_order_child) =:= undefined end.

table_gone_after_down() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ets:new(signal_order_table, [named_table]) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ets:info(signal_order_table) =:= undefined end.

not_alive_after_down() ->
    {Pid, Monitor} = spawn_monitor(?MODULE, quit, []),
    receive
        {'DOWN', Monitor, process, Pid, normal} ->
            {is_process_alive(Pid), process_info(Pid), lists:member(Pid, processes())} =:= {false, undefined, false}
    end.

%% The one that ends waits, has just begun to wait, or handles the messages of others.
not_alive_after_exit() ->
    Pid = spawn(fun Loop() -> receive _ -> Loop() end end),
    Others = [spawn(fun() -> [Pid ! N || N <- lists:seq(1, 20)] end) || _ <- lists:seq(1, 2)],
    Before = is_process_alive(Pid),
    [Pid ! N || N <- lists:seq(1, erlang:phash2(Pid, 4))],
    exit(Pid, kill),
    {Before, is_process_alive(Pid), is_list(Others)} =:= {true, false, true}.
