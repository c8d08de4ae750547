%% native libraries: messages.
-module(nif_send).
-export([main/0, nothing/1, object/0, send/1]).
-on_load(init/0).
init() -> erlang:load_nif(filename:rootname(code:which(?MODULE)), 0).
main() -> messages(300000).
messages(0) -> ok;
messages(N) -> 1 = send(self()), receive {message, 1} -> ok end, messages(N - 1).
nothing(_) -> erlang:nif_error(not_loaded).
object() -> erlang:nif_error(not_loaded).
send(_) -> erlang:nif_error(not_loaded).
