%% processes: spawn, exit.
-module(spawn_exit).
-export([main/0]).
main() -> loop(200000).
loop(0) -> ok;
loop(N) -> {_, R} = spawn_monitor(fun() -> ok end), receive {'DOWN', R, process, _, normal} -> loop(N - 1) end.
