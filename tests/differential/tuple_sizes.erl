%% Sizes that no tuple has: comparisons with them never hold. OTP takes them modulo 2^26, so that there must be no tuple
%% of five elements here.
-module(tuple_sizes).
-if(?OTP_RELEASE < 28).
-compile(r24).
-endif.
-compile(no_type_opt).
-export([main/0]).

main() ->
    Values = [a, {}, {1}, {a, 2}, erlang:make_tuple(70000, x)],
    io:format("~p~n", [[{tested(V), selected(V), after_another(V)} || V <- Values, _ <- lists:seq(1, 200)]]).

tested(T) when tuple_size(T) =:= 16#10000005 -> large;
tested(T) when tuple_size(T) =:= 4294967296 -> larger;
tested(T) when tuple_size(T) =:= 70000 -> there_is;
tested(_) -> other.

selected(T) ->
    case T of
        _ when tuple_size(T) =:= 1 -> one;
        _ when tuple_size(T) =:= 16#100000005 -> five_in_32_bits;
        _ when tuple_size(T) =:= 16#1000000000000005 -> five_in_60_bits;
        _ -> other
    end.

after_another(T) when tuple_size(T) =/= 2, tuple_size(T) =:= 16#10000005 -> element(1, T);
after_another(_) -> other.
