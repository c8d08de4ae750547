%% native libraries: objects.
-module(nif_object).
-export([main/0, nothing/1, object/0, send/1]).
-on_load(init/0).
init() -> erlang:load_nif(filename:rootname(code:which(?MODULE)), 0).
main() -> objects(500000).
objects(0) -> ok;
objects(N) -> object(), objects(N - 1).
nothing(_) -> erlang:nif_error(not_loaded).
object() -> erlang:nif_error(not_loaded).
send(_) -> erlang:nif_error(not_loaded).
