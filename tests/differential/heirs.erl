%% Who inherits tables: never a process that has the number of an heir that ended.
-module(heirs).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    io:format("~p~n", [[ends_first(How) || How <- [new, set_later]]]),
    io:format("~p~n", [[dead_already(), replaced(), inherits(), twice()]]).

waiting() -> spawn(fun() -> receive stop -> ok end end).

ended(P) ->
    M = monitor(process, P),
    P ! stop,
    receive {'DOWN', M, process, P, _} -> ok end.

owner(Do) ->
    Self = self(),
    P = spawn(fun() -> Self ! {self(), Do()}, receive stop -> ok end end),
    receive {P, T} -> {P, T} end.

%% The heir ends, another process gets its number, then the owner ends.
ends_first(How) ->
    Next = erts_debug:get_internal_state(next_pid),
    % OTP goes on behind the number that is set.
    ended(waiting()),
    Heir = waiting(),
    {Owner, T} = owner(fun() ->
        case How of
            new -> ets:new(t, [{heir, Heir, data}]);
            set_later ->
                Made = ets:new(t, []),
                ets:setopts(Made, {heir, Heir, data}),
                Made
        end
    end),
    Before = ets:info(T, heir) =:= Heir,
    ended(Heir),
    wait_until(fun() -> erts_debug:get_internal_state({process_status, Heir}) =:= undefined end),
    Shown = ets:info(T, heir) =:= Heir,
    reborn(Heir, Next, 1000),
    StillShown = ets:info(T, heir) =:= Heir,
    ended(Owner),
    Messages = process_info(Heir, messages),
    ended(Heir),
    [Before, Shown, StillShown, Messages, ets:info(T)].

%% A new process with the number of one that has ended.
reborn(Pid, Next, Tries) when Tries > 0 ->
    erts_debug:set_internal_state(next_pid, Next),
    Others = [waiting() || _ <- lists:seq(1, 20)],
    [ended(P) || P <- Others, P =/= Pid],
    lists:member(Pid, Others) orelse reborn(Pid, Next, Tries - 1).

wait_until(Done) ->
    case Done() of
        true -> ok;
        false -> receive after 10 -> wait_until(Done) end
    end.

dead_already() ->
    Heir = waiting(),
    ended(Heir),
    {Owner, T} = owner(fun() -> ets:new(t, [{heir, Heir, data}]) end),
    Shown = ets:info(T, heir),
    ended(Owner),
    [Shown, ets:info(T)].

replaced() ->
    First = waiting(),
    Self = self(),
    {Owner, T} = owner(fun() ->
        Made = ets:new(t, [{heir, First, first}]),
        ets:setopts(Made, [{heir, Self, second}]),
        Made
    end),
    ended(First),
    Shown = ets:info(T, heir) =:= Self,
    ended(Owner),
    receive {'ETS-TRANSFER', T, Owner, second} -> ok end,
    Result = [Shown, ets:info(T, owner) =:= Self, ets:info(T, heir) =:= Self],
    ets:setopts(T, {heir, none}),
    Result ++ [ets:info(T, heir), ets:delete(T)].

inherits() ->
    Self = self(),
    {Owner, T} = owner(fun() ->
        Made = ets:new(t, [{heir, Self, "data"}]),
        ets:insert(Made, {1, 2}),
        Made
    end),
    ended(Owner),
    receive {'ETS-TRANSFER', T, Owner, Data} -> [Data, ets:tab2list(T), ets:delete(T), ets:info(T)] end.

%% The heir gets it, and is its own heir then.
twice() ->
    Self = self(),
    Heir = spawn(fun() -> receive {'ETS-TRANSFER', _, _, D} -> Self ! D end, receive stop -> ok end end),
    {Owner, T} = owner(fun() -> ets:new(t, [{heir, Heir, data}]) end),
    ended(Owner),
    receive data -> ok end,
    Shown = [ets:info(T, owner) =:= Heir, ets:info(T, heir) =:= Heir],
    ended(Heir),
    Shown ++ [ets:info(T)].
