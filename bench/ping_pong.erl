%% processes: two that answer each other.
-module(ping_pong).
-export([main/0]).
main() -> P = spawn_link(fun pong/0), ping(300000, P).
ping(0, P) -> P ! stop, ok;
ping(N, P) -> P ! {self(), ping}, receive pong -> ping(N - 1, P) end.
pong() -> receive {P, ping} -> P ! pong, pong(); stop -> ok end.
