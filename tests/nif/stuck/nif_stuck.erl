%% Every scheduler, and every thread that takes the place of one, calls what never returns.
-module(nif_stuck).
-export([main/0, stay/0]).

main() ->
    ok = erlang:load_nif("./nif_stuck", 0),
    io:put_chars("ready\n"),
    [spawn(fun stay/0) || _ <- lists:seq(1, 50)],
    receive never -> ok end.

stay() -> erlang:nif_error(not_loaded).
