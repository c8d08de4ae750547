%% Halts while a function of a library runs that delays it: with flushing, and without.
-module(nif_halt).
-export([main/1, wait/0, late/0]).
-nifs([wait/0, late/0]).

main(Options) ->
    ok = erlang:load_nif("./nif_halt", 0),
    1 = late(),
    spawn(fun() -> wait(), io:format("not to be reached~n") end),
    timer:sleep(300),
    erlang:halt(3, Options).

wait() -> erlang:nif_error(not_loaded).
late() -> erlang:nif_error(not_loaded).
