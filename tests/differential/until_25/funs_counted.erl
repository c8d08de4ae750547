%% How many funs there are of a kind: on heaps, under way, in tables and with timers.
-module(funs_counted).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    io:format("~p~n", [[on_heaps(), in_tables(), elsewhere()]]).

adder(N) -> fun(X) -> X + N end.

refc(F) ->
    {refc, N} = erlang:fun_info(F, refc),
    N.

on_heaps() ->
    F1 = adder(2),
    One = refc(F1),
    F2 = adder(42),
    Two = refc(F1),
    Self = self(),
    {P, M} = spawn_monitor(fun() -> Self ! {self(), refc(F1)}, receive stop -> F1 end end),
    Three = receive {P, N} -> N end,
    P ! stop,
    receive {'DOWN', M, process, P, _} -> ok end,
    Left = until(fun() -> refc(F1) =:= Two end),
    7 = F1(5),
    garbage_collect(),
    40 = F2(-2),
    [One, Two, Three, Left, refc(F2)].

%% Memory of a process that has ended is given back a little later.
until(Done) ->
    case Done() of
        true -> true;
        false -> receive after 10 -> until(Done) end
    end.

in_tables() ->
    [alone(fun() ->
        F = fun(X) -> {Type, X} end,
        T = ets:new(t, [Type]),
        Start = refc(F),
        ets:insert(T, {a, F}),
        Inserted = refc(F),
        [{a, G}] = ets:lookup(T, a),
        Read = refc(F),
        ets:insert(T, {a, none}),
        ets:insert(T, {b, [F, F]}),
        Replaced = refc(F),
        ets:delete(T),
        Deleted = refc(F),
        {_, 1} = G(1),
        garbage_collect(),
        [Start, Inserted, Read, Replaced, Deleted, refc(F)]
    end) || Type <- [set, ordered_set, bag, duplicate_bag]].

%% In a process of its own, whose funs nobody else has; the next begins when they are gone.
alone(Do) ->
    Self = self(),
    {P, M} = spawn_monitor(fun() -> Self ! {self(), Do()} end),
    Result = receive {P, R} -> R end,
    receive {'DOWN', M, process, P, _} -> ok end,
    until(fun() -> not is_there(P) end),
    Result.

is_there(P) ->
    erts_debug:get_internal_state({process_status, P}) =/= undefined.

elsewhere() ->
    F = fun() -> elsewhere end,
    Start = refc(F),
    P = spawn(fun() -> receive stop -> ok end end),
    P ! {F, F},
    Sent = refc(F),
    Timer = erlang:send_after(100000, P, F),
    WithTimer = refc(F),
    true = is_integer(erlang:cancel_timer(Timer)),
    exit(P, kill),
    Left = until(fun() -> refc(F) =:= Start end),
    [Start, Sent, WithTimer, Left, F()].
