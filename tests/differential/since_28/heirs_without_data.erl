%% {heir, Pid}: the heir gets the table and no message.
-module(heirs_without_data).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    [io:format("~p~n", [{named(Options), inherited(Options)}]) || Options <- [
        [{heir, self()}], [{heir, self(), data}], [{heir, self(), data}, {heir, self()}],
        [{heir, self()}, {heir, self(), data}], [{heir, self()}, {heir, none}]]],
    [io:format("~p~n", [{named(Set), changed(Set)}]) || Set <- [
        {heir, self()}, [{heir, self()}], {heir, none}, {heir, self(), data}, [{heir, self()}, {heir, none}], {heir, false},
        {heir}, {heir, self(), data, data}, [{heir, self()}, {protection, private}]]],
    Dead = spawn(fun() -> ok end),
    receive after 100 -> ok end,
    T = ets:new(t, [{heir, Dead}]),
    io:format("~p~n", [{ets:info(T, heir), ets:setopts(T, {heir, Dead}), ets:info(T, heir), ets:setopts(T, {heir, self()}), ets:info(T, heir) =:= self()}]),
    [io:format("~p~n", [try ets:new(t, [Option]), ok catch error:Reason -> Reason end])
        || Option <- [{heir, false}, {heir, make_ref()}, {heir}, heir]].

inherited(Options) ->
    ends_with(fun() -> T = ets:new(t, [private | Options]), ets:insert(T, {key, 1}), T end).

changed(Set) ->
    ends_with(fun() -> T = ets:new(t, []), ets:insert(T, {key, 1}), catch_badarg(fun() -> ets:setopts(T, Set) end), T end).

catch_badarg(Fun) -> try Fun() catch error:badarg -> io:format("badarg~n") end.

%% What the heir sees of the table, and what it is told.
ends_with(Fun) ->
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {table, Fun()} end),
    T = receive {table, Table} -> Table end,
    receive {'EXIT', Pid, normal} -> ok end,
    Seen = try {ets:lookup(T, key), ets:info(T, owner) =:= self()} catch error:badarg -> badarg end,
    Told = receive {'ETS-TRANSFER', T, Pid, Data} -> Data after 50 -> nothing end,
    {Seen, Told}.

named(Term) when Term =:= self() -> self;
named([Head | Tail]) -> [named(Head) | named(Tail)];
named(Tuple) when is_tuple(Tuple) -> list_to_tuple(named(tuple_to_list(Tuple)));
named(Term) -> Term.
