%% The bit syntax: building, matching, comprehensions, and what goes wrong.
-module(bits).
-export([main/0]).

main() ->
    [io:format("~p~n", [catch F()]) || F <- [fun sizes/0, fun ends/0, fun floats/0, fun utf/0, fun parts/0, fun growing/0, fun comprehensions/0, fun big/0, fun bad/0, fun tails/0]].

sizes() -> [{S, <<(16#123456789abcdef):S>>, <<(-5):S/little>>} || S <- [0, 1, 3, 8, 9, 16, 31, 32, 33, 63, 64, 65, 100]].

ends() ->
    B = <<1, 2, 3, 4, 5, 6, 7, 8, 9, 10>>,
    [begin <<_:O, X:S/signed-little, Y:S/unsigned-big, _/bitstring>> = B, {O, S, X, Y} end || O <- [0, 1, 4, 7], S <- [1, 5, 8, 12, 16, 24, 32]].

floats() ->
    <<A:64/float, B:32/float, C:64/float-little, D:16/float>> = <<1.5:64/float, 2.25:32/float, -0.125:64/float-little, 0.5:16/float>>,
    {A, B, C, D, case <<16#7ff0000000000000:64>> of <<_:64/float>> -> float; _ -> no_float end}.

utf() ->
    B = <<"aé€😀"/utf8>>,
    L = [C || <<C/utf8>> <= B],
    {B, L, << <<C/utf16>> || C <- L >>, << <<C/utf32-little>> || C <- L >>, [C || <<C/utf16-little>> <= << <<C/utf16-little>> || C <- L >>],
     case <<255, 128>> of <<X/utf8, _/binary>> -> X; _ -> bad end}.

parts() ->
    B = list_to_binary(lists:seq(0, 255)),
    <<_:3, X:77/bitstring, Y:100/binary, Z/bitstring>> = B,
    {X, byte_size(Y), bit_size(Z), binary:part(B, 10, 5), split_binary(B, 250), Y =:= Y, X < Y, erlang:phash2(Z)}.

growing() ->
    B1 = lists:foldl(fun(N, Acc) -> <<Acc/binary, N:16>> end, <<>>, lists:seq(1, 300)),
    B2 = <<B1/binary, 1>>,
    B3 = <<B1/binary, 2>>,
    B4 = lists:foldl(fun(N, Acc) -> <<Acc/bitstring, N:3>> end, <<>>, lists:seq(1, 100)),
    {erlang:md5(B1), binary:last(B2), binary:last(B3), byte_size(B1), bit_size(B4), B4}.

comprehensions() ->
    {[X || <<X:4>> <= <<16#abcdef:24>>], << <<X:2>> || X <- [1, 2, 3, 0, 1] >>, [{X, Y} || <<X, Y:16>> <= <<1, 2, 3, 4, 5, 6, 7>>],
     << <<(X * 2)>> || <<X>> <= <<1, 2, 3>>, X > 1 >>}.

big() ->
    N = 1 bsl 200 + 12345,
    <<X:256>> = <<N:256>>,
    <<Y:256/little>> = <<N:256/little>>,
    <<Z:201/signed>> = <<(-N):201>>,
    {X =:= N, Y =:= N, Z, <<N:70>>}.

bad() ->
    [try F() of V -> V catch C:R -> {C, R} end || F <- [fun() -> <<a>> end, fun() -> <<1:(-1)>> end, fun() -> <<"x":3/binary>> end, fun() -> S = id(b), <<S/binary>> end,
        fun() -> S = id(<<1:3>>), <<S/binary>> end, fun() -> S = id(16#d800), <<S/utf8>> end, fun() -> F = id(1.0e300), <<F:32/float>> end, fun() -> <<X:4>> = id(<<1>>), X end]].

id(X) -> X.

tails() -> [count(<<"hello world">>, 0), rev(<<1, 2, 3>>, []), words(<<"the quick  brown">>, <<>>, [])].

count(<<>>, N) -> N;
count(<<_, R/binary>>, N) -> count(R, N + 1).
rev(<<X, R/binary>>, Acc) -> rev(R, [X | Acc]);
rev(<<>>, Acc) -> Acc.
words(<<" ", R/binary>>, W, Acc) -> words(R, <<>>, [W | Acc]);
words(<<C, R/binary>>, W, Acc) -> words(R, <<W/binary, C>>, Acc);
words(<<>>, W, Acc) -> lists:reverse([W | Acc]).
