%% native libraries: a function that does nothing.
-module(nif_empty).
-export([main/0, nothing/1, object/0, send/1]).
-on_load(init/0).
init() -> erlang:load_nif(filename:rootname(code:which(?MODULE)), 0).
main() -> calls(5000000).
calls(0) -> ok;
calls(N) -> nothing(N), calls(N - 1).
nothing(_) -> erlang:nif_error(not_loaded).
object() -> erlang:nif_error(not_loaded).
send(_) -> erlang:nif_error(not_loaded).
