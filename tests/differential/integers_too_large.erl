%% An integer field whose value is larger than the largest integer is no match; a long one with a small value is.
-module(integers_too_large).
-export([main/0]).

main() ->
    %% The largest has 64 * 65535 bits from OTP 27 on, and 64 * 524287 before.
    [io:format("~p ~p~n", [{Bits, Kind}, taken(<<First, 0:(Bits - 16), 1>>, Kind)])
     || Bits <- [1000, 4194232, 4194240, 4194248, 33554368, 33554376],
        {First, Kind} <- [{255, big}, {255, little}, {255, signed}, {0, big}]],
    %% OTP 29's own emulator aborts on fields of a constant size that are too large.
    [rest() || list_to_integer(erlang:system_info(otp_release)) < 27],
    ok.

rest() ->
    io:format("~p~n", [fixed(<<1, 0:4194296>>)]),
    io:format("~p~n", [[X band 1 || <<X:4194304>> <= <<255:8, 1:4194296, 1:4194304>>]]),
    %% What follows a field that is no match is where it was.
    Long = <<255, 0:33554368>>,
    Size = bit_size(Long),
    case <<Long/binary, 7>> of
        <<X:Size, Y>> -> io:format("~p~n", [{X band 1, Y}]);
        <<Part:8, Rest/binary>> -> io:format("~p~n", [{Part, byte_size(Rest)}])
    end.

taken(Binary, Kind) ->
    Size = bit_size(Binary),
    case {Kind, Binary} of
        {big, <<X:Size>>} -> X band 7;
        {little, <<X:Size/little>>} -> X band 7;
        {signed, <<X:Size/signed>>} -> X band 7;
        _ -> no_match
    end.

fixed(<<X:4194304, _/binary>>) -> X band 1;
fixed(<<X, _/binary>>) -> {byte, X}.
