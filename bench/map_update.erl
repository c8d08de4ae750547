%% sequential: maps small and large.
-module(map_update).
-export([main/0]).
main() -> small(1000000, #{a => 0, b => 0, c => 0}), large(100000, #{}).
small(0, M) -> M;
small(N, #{a := A} = M) -> small(N - 1, M#{a := A + 1, b => N}).
large(0, M) -> maps:fold(fun(_, V, Acc) -> V + Acc end, 0, M);
large(N, M) -> large(N - 1, M#{N rem 10000 => N}).
