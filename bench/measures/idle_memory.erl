%% Memory of a million processes that wait, and the time to start them. Needs +P 2000000.
-module(idle_memory).
-export([main/0]).
rss() -> {ok, B} = file:read_file("/proc/self/statm"), [_, R | _] = string:lexemes(B, " "), binary_to_integer(R) * 4096.
main() ->
    N = 1000000,
    R0 = rss(),
    T0 = erlang:monotonic_time(millisecond),
    [spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, N)],
    T1 = erlang:monotonic_time(millisecond),
    timer:sleep(1000),
    R1 = rss(),
    io:format("~b bytes a process, ~b ms~n", [(R1 - R0) div N, T1 - T0]).
