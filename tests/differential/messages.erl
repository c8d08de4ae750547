%% Signals between processes: order, links, monitors, aliases, timeouts, names.
-module(messages).
-export([main/0]).

main() ->
    io:format("~p~n", [order(1000)]),
    io:format("~p~n", [links()]),
    io:format("~p~n", [monitors()]),
    io:format("~p~n", [aliases()]),
    io:format("~p~n", [timers()]),
    io:format("~p~n", [names()]),
    io:format("~p~n", [exits()]),
    io:format("~p~n", [selective()]),
    io:format("~p~n", [hibernation()]).

order(N) ->
    Self = self(),
    spawn(fun() -> [Self ! X || X <- lists:seq(1, N)] end),
    lists:seq(1, N) =:= [receive X -> X end || _ <- lists:seq(1, N)].

links() ->
    process_flag(trap_exit, true),
    P1 = spawn_link(fun() -> exit(one) end),
    R1 = receive {'EXIT', P1, X1} -> X1 end,
    P2 = spawn_link(fun() -> ok end),
    R2 = receive {'EXIT', P2, X2} -> X2 end,
    P3 = spawn_link(fun() -> receive stop -> ok end end),
    true = unlink(P3),
    exit(P3, kill),
    R3 = receive {'EXIT', P3, X3} -> X3 after 50 -> none end,
    P4 = spawn_link(fun() -> process_flag(trap_exit, true), receive {'EXIT', _, why} -> exit(trapped) end end),
    timer:sleep(10),
    exit(P4, why),
    R4 = receive {'EXIT', P4, X4} -> X4 end,
    P5 = spawn_link(fun() -> receive after infinity -> ok end end),
    exit(P5, kill),
    R5 = receive {'EXIT', P5, X5} -> X5 end,
    process_flag(trap_exit, false),
    {R1, R2, R3, R4, R5, catch link(P1)}.

monitors() ->
    {P, R} = spawn_monitor(fun() -> receive go -> exit(gone) end end),
    R2 = monitor(process, P),
    true = demonitor(R2, [flush]),
    P ! go,
    A = receive {'DOWN', R, process, P, X} -> X end,
    R3 = monitor(process, P),
    B = receive {'DOWN', R3, process, P, Y} -> Y end,
    R4 = monitor(process, no_such_name),
    C = receive {'DOWN', R4, process, {no_such_name, _}, Z} -> Z end,
    {A, B, C, receive Other -> Other after 20 -> nothing end}.

aliases() ->
    Alias = alias(),
    Alias ! hello,
    A = receive hello -> got end,
    true = unalias(Alias),
    Alias ! hello,
    B = receive hello -> got after 20 -> nothing end,
    Once = alias([reply]),
    Once ! 1,
    Once ! 2,
    C = receive 1 -> receive 2 -> both after 20 -> first end end,
    {_, Ref} = spawn_opt(fun() -> exit(x) end, [{monitor, [{tag, my_tag}]}]),
    D = receive {my_tag, Ref, process, _, Why} -> Why end,
    {A, B, C, D}.

timers() ->
    Ref = erlang:start_timer(10, self(), message),
    A = receive {timeout, Ref, M} -> M end,
    erlang:send_after(5, self(), later),
    B = receive later -> got end,
    Long = erlang:send_after(100000, self(), never),
    C = is_integer(erlang:cancel_timer(Long)),
    D = erlang:cancel_timer(Long),
    E = receive after 0 -> zero end,
    {A, B, C, D, E, catch (receive after -1 -> x end)}.

names() ->
    P = spawn(fun() -> receive stop -> ok end end),
    true = register(some_name, P),
    A = whereis(some_name) =:= P,
    B = (catch element(1, element(2, catch register(some_name, self())))),
    some_name ! stop,
    timer:sleep(20),
    {A, B, whereis(some_name), catch element(1, element(2, catch some_name ! x))}.

exits() ->
    {_, R1} = spawn_monitor(fun() -> exit(self(), normal), timer:sleep(1000) end),
    A = receive {'DOWN', R1, _, _, X} -> X end,
    {P2, R2} = spawn_monitor(fun() -> receive stop -> stopped end end),
    exit(P2, normal),
    P2 ! stop,
    B = receive {'DOWN', R2, _, _, Y} -> Y end,
    {P3, R3} = spawn_monitor(fun() -> process_flag(trap_exit, true), receive M -> exit({got, M}) end end),
    timer:sleep(10),
    exit(P3, {because, "text"}),
    C = receive {'DOWN', R3, _, _, {got, {'EXIT', _, Z}}} -> Z end,
    {A, B, C}.

selective() ->
    [self() ! {n, N} || N <- lists:seq(1, 10)],
    self() ! marker,
    receive marker -> ok end,
    Even = [receive {n, N} when N rem 2 =:= 0 -> N end || _ <- lists:seq(1, 5)],
    Odd = [receive {n, N} -> N end || _ <- lists:seq(1, 5)],
    {Even, Odd}.

hibernation() ->
    Self = self(),
    P = spawn(fun() -> erlang:hibernate(erlang, apply, [fun() -> receive X -> Self ! {woken_by, X} end end, []]) end),
    timer:sleep(20),
    Before = process_info(P, current_function),
    P ! hello,
    {Before, receive {woken_by, X} -> X end}.
