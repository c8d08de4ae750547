%% sequential: binary_to_list/1 of 100 KB.
-module(binary_to_list).
-export([main/0]).
main() -> repeat(300, binary:copy(<<"0123456789">>, 10000)).
repeat(0, _) -> ok;
repeat(N, Binary) -> [$0 | _] = binary_to_list(Binary), repeat(N - 1, Binary).
