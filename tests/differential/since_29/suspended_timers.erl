%% Timers for a suspended process wait: time limits of receives, and timers that built-ins have started.
-module(suspended_timers).
-export([main/0]).

main() ->
    io:format("~p~n", [[receives(), twice(), sent(), cancelled(), ends()]]).

%% A receive whose time limit comes up while the process is suspended goes on when that is over.
receives() ->
    P = waiting(400),
    true = erlang:suspend_process(P),
    timer:sleep(800),
    true = erlang:resume_process(P),
    P ! go,
    First = told(P),
    Q = waiting(300),
    true = erlang:suspend_process(Q),
    true = erlang:resume_process(Q),
    {First, told(Q)}.

twice() ->
    P = waiting(300),
    true = erlang:suspend_process(P),
    true = erlang:suspend_process(P),
    true = erlang:resume_process(P),
    timer:sleep(600),
    P ! go,
    true = erlang:resume_process(P),
    told(P).

sent() ->
    Main = self(),
    P = spawn_link(fun() -> Main ! {self(), receive M -> M end} end),
    erlang:send_after(200, P, late),
    true = erlang:suspend_process(P),
    timer:sleep(500),
    P ! early,
    true = erlang:resume_process(P),
    told(P).

cancelled() ->
    P = spawn_link(fun() -> receive stop -> ok end end),
    T = erlang:start_timer(600, P, x),
    true = erlang:suspend_process(P),
    timer:sleep(800),
    U = erlang:start_timer(300, P, y),
    Waiting = [erlang:read_timer(T), erlang:cancel_timer(T), erlang:read_timer(U)],
    true = erlang:resume_process(P),
    Going = [erlang:read_timer(T), erlang:cancel_timer(U)],
    timer:sleep(800),
    {messages, Messages} = process_info(P, messages),
    P ! stop,
    {Waiting, Going, [What || {timeout, _, What} <- Messages]}.

ends() ->
    P = spawn(fun() -> receive stop -> ok end end),
    T = erlang:start_timer(300, P, x),
    true = erlang:suspend_process(P),
    exit(P, kill),
    timer:sleep(100),
    erlang:read_timer(T).

waiting(Ms) ->
    Main = self(),
    P = spawn_link(fun() -> Main ! {self(), receive go -> went after Ms -> over end} end),
    timer:sleep(50),
    P.

told(P) -> receive {P, What} -> What after 3000 -> nothing end.
