%% How many hold a fun's entry (OTP 26 to 28): the module's, and those of funs in tables and from the
%% external format, with their copies.
-module(holders_of_funs).
-export([main/0, id/1]).

main() ->
    Free = id(3),
    Fun = fun(X) -> X + Free end,
    put(results, []),
    count(made, Fun),
    Decoded = binary_to_term(term_to_binary({Fun, Fun})),
    count(decoded, Fun),
    id(Decoded),
    Table = ets:new(funs, []),
    ets:insert(Table, {a, Fun}),
    count(table, Fun),
    ets:insert(Table, {b, Fun, Fun}),
    count(tuple, Fun),
    [{a, Found}] = ets:lookup(Table, a),
    count(looked_up, Fun),
    Echo = spawn_link(fun echo/0),
    Sent = sent(Echo, Fun),
    count(sent, Fun),
    Own = sent(Echo, Found),
    count(sent_with_own, Fun),
    id({Found, Sent, Own}),
    ets:delete(Table),
    erlang:garbage_collect(Echo),
    erlang:garbage_collect(),
    count(collected, Fun),
    persistent_term:put(holders_of_funs, Fun),
    count(persistent, Fun),
    Persistent = persistent_term:get(holders_of_funs),
    count(taken, Fun),
    id(Persistent),
    Timer = erlang:send_after(100000, Echo, Fun),
    count(timer, Fun),
    erlang:cancel_timer(Timer),
    count(exported, fun ?MODULE:id/1),
    io:format("~p~n", [lists:reverse(get(results))]).

count(What, Fun) -> put(results, [{What, element(2, erlang:fun_info(Fun, refc))} | get(results)]).

sent(Echo, Term) -> Echo ! {self(), Term}, receive {Echo, Same} -> Same end.

echo() ->
    receive {From, Term} -> From ! {self(), Term} end,
    erlang:garbage_collect(),
    echo().

id(Term) -> Term.
