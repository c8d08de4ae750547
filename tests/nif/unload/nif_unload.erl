%% A module with a library, to be loaded and purged by others.
-module(nif_unload).
-export([start/0, generation/0]).
-nifs([generation/0]).

start() ->
    ok = erlang:load_nif("./nif_unload", 0),
    generation().

generation() -> erlang:nif_error(not_loaded).
