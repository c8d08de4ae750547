%% Binaries that a loop lengthens: fields of every width, odd sizes in between, beginnings of every
%% kind, and what else refers to the binary while it grows.
-module(growing_binaries).
-export([main/0, kept/2]).

main() ->
    [show(Width, width(Width, 300, <<>>)) || Width <- [8, 16, 24, 32, 40, 48, 56, 64]],
    show(pairs, pairs(200, <<>>)),
    show(sixes, sixes(201, <<>>)),
    show(comprehension, << <<(X * 7):24>> || X <- lists:seq(1, 500) >>),
    show(bits, << <<X:3>> || X <- lists:seq(1, 500) >>),
    show(literal, width(32, 50, <<"a literal that is longer than what a binary on the heap may be: sixty-four bytes">>)),
    persistent_term:put(?MODULE, width(32, 40, <<>>)),
    show(longer_than_persistent, width(32, 40, persistent_term:get(?MODULE))),
    show(persistent, persistent_term:get(?MODULE)),
    {Last, Kept} = kept(100, <<>>),
    show(last, Last),
    show(kept, [{byte_size(B), erlang:crc32(B)} || B <- Kept]),
    Self = self(),
    Receiver = spawn_link(fun() -> Self ! {got, [receive {part, B} -> {byte_size(B), erlang:crc32(B)} end || _ <- lists:seq(1, 60)]} end),
    show(sent, sent(60, <<>>, Receiver)),
    receive {got, Got} -> show(got, Got) end,
    show(failing, try failing(100, <<>>) catch error:Why -> Why end),
    Large = binary:copy(<<"x">>, 1000000),
    {reductions, Before} = process_info(self(), reductions),
    show(large, texts(2000, Large)),
    {reductions, After} = process_info(self(), reductions),
    show(costs_what_is_added, After - Before < 200000),
    show(mixed, mixed(lists:seq(1, 400), <<>>)),
    ok.

show(What, Bits) when is_bitstring(Bits) ->
    io:format("~p ~b bits, ~b~n", [What, bit_size(Bits), erlang:phash2(Bits)]);
show(What, Term) -> io:format("~p ~p~n", [What, Term]).

width(_, 0, Made) -> Made;
width(8, N, Made) -> width(8, N - 1, <<Made/binary, N>>);
width(16, N, Made) -> width(16, N - 1, <<Made/binary, (N * 3):16>>);
width(24, N, Made) -> width(24, N - 1, <<Made/binary, (-N):24>>);
width(32, N, Made) -> width(32, N - 1, <<Made/binary, (N * 77777):32>>);
width(40, N, Made) -> width(40, N - 1, <<Made/binary, N, (N * 3):32>>);
width(48, N, Made) -> width(48, N - 1, <<Made/binary, (N * 99):32, N:16/little>>);
width(56, N, Made) -> width(56, N - 1, <<Made/binary, "abc", (N * N):32>>);
width(64, N, Made) -> width(64, N - 1, <<Made/binary, (N * N):48, N:16>>).

pairs(0, Made) -> Made;
pairs(N, Made) -> pairs(N - 1, <<Made/binary, N:4, (N + 1):4, (N bsr 2):6, 1:2>>).

%% Whole bytes only every fourth time.
sixes(0, Made) -> Made;
sixes(N, Made) -> sixes(N - 1, <<Made/bitstring, N:6>>).

kept(N, Made) -> kept(N, Made, []).
kept(0, Made, Kept) -> {Made, Kept};
kept(N, Made, Kept) when N rem 10 =:= 0 -> kept(N - 1, <<Made/binary, N:32>>, [Made | Kept]);
kept(N, Made, Kept) -> kept(N - 1, <<Made/binary, N:32>>, Kept).

sent(0, Made, _) -> Made;
sent(N, Made, To) ->
    To ! {part, Made},
    sent(N - 1, <<Made/binary, N:24, (N * 5):16>>, To).

texts(0, Made) -> Made;
texts(N, Made) -> texts(N - 1, <<Made/binary, "line ", (integer_to_binary(N))/binary, N:24, $\n>>).

failing(0, _) -> error(unexpected);
failing(1, Made) -> failing(0, <<Made/binary, (list_to_atom("no_integer")):16>>);
failing(N, Made) -> failing(N - 1, <<Made/binary, N:16>>).

mixed([], Made) -> Made;
mixed([N | Rest], Made) when N rem 3 =:= 0 -> mixed(Rest, <<Made/binary, (float(N))/float>>);
mixed([N | Rest], Made) when N rem 5 =:= 0 -> mixed(Rest, <<Made/binary, N/utf8>>);
mixed([N | Rest], Made) when N rem 7 =:= 0 -> mixed(Rest, <<Made/binary, (integer_to_binary(N))/binary>>);
mixed([N | Rest], Made) -> mixed(Rest, <<Made/binary, (N bsl 70 + N):80, N:16/little, N:8>>).
