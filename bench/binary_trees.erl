%% sequential: building and walking trees, which is work for the collector.
-module(binary_trees).
-export([main/0]).
main() ->
    Long = make(14),
    [check(make(10)) || _ <- lists:seq(1, 500)],
    [check(make(14)) || _ <- lists:seq(1, 40)],
    32767 = check(Long),
    ok.
make(0) -> {leaf, leaf};
make(D) -> {make(D - 1), make(D - 1)}.
check({leaf, leaf}) -> 1;
check({L, R}) -> 1 + check(L) + check(R).
