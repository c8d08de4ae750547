%% sequential: a JSON encoder and decoder in Erlang.
-module(json).
-export([main/0]).
main() ->
    Doc = [#{<<"id">> => N, <<"name">> => <<"some name">>, <<"tags">> => [<<"a">>, <<"b">>, true, null], <<"score">> => N * 1.5} || N <- lists:seq(1, 20000)],
    Text = iolist_to_binary(enc(Doc)),
    {Doc, <<>>} = val(Text),
    ok.
enc(true) -> "true"; enc(false) -> "false"; enc(null) -> "null";
enc(N) when is_integer(N) -> integer_to_binary(N);
enc(F) when is_float(F) -> float_to_binary(F, [short]);
enc(B) when is_binary(B) -> [$", B, $"];
enc(L) when is_list(L) -> [$[, join([enc(X) || X <- L]), $]];
enc(M) when is_map(M) -> [${, join([[enc(K), $:, enc(V)] || {K, V} <- maps:to_list(M)]), $}].
join([]) -> []; join([X]) -> [X]; join([X | T]) -> [X, $, | join(T)].
val(<<"true", R/binary>>) -> {true, R};
val(<<"false", R/binary>>) -> {false, R};
val(<<"null", R/binary>>) -> {null, R};
val(<<$", R/binary>>) -> str(R, 0, R);
val(<<"[]", R/binary>>) -> {[], R};
val(<<$[, R/binary>>) -> arr(R, []);
val(<<"{}", R/binary>>) -> {#{}, R};
val(<<${, R/binary>>) -> obj(R, []);
val(B) -> num(B, 0, B).
str(<<$", R/binary>>, N, B) -> <<S:N/binary, _/binary>> = B, {S, R};
str(<<_, R/binary>>, N, B) -> str(R, N + 1, B).
arr(B, Acc) -> case val(B) of {V, <<$,, R/binary>>} -> arr(R, [V | Acc]); {V, <<$], R/binary>>} -> {lists:reverse([V | Acc]), R} end.
obj(B, Acc) ->
    {K, <<$:, B1/binary>>} = val(B),
    case val(B1) of {V, <<$,, R/binary>>} -> obj(R, [{K, V} | Acc]); {V, <<$}, R/binary>>} -> {maps:from_list([{K, V} | Acc]), R} end.
num(<<C, R/binary>>, N, B) when C >= $0, C =< $9; C =:= $.; C =:= $-; C =:= $e -> num(R, N + 1, B);
num(R, N, B) ->
    <<S:N/binary, _/binary>> = B,
    case binary:match(S, <<".">>) of nomatch -> {binary_to_integer(S), R}; _ -> {binary_to_float(S), R} end.
