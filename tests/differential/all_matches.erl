%% binary:matches and binary:split with each kind of pattern: one byte, one string, some, and compiled ones; results with
%% none, one and many entries; empty parts in front, between and behind, kept and left out; scopes; and texts so long that
%% they are searched elsewhere.
-module(all_matches).
-export([main/0]).

main() ->
    Texts = [<<>>, <<"a">>, <<",">>, <<",,">>, <<"a,b">>, <<",a,,b,,">>, <<"aaaa">>, <<"aaaaa">>, <<"abcabcab">>,
             binary:part(<<"xx,a,b,xx">>, 2, 5)],
    Patterns = [<<",">>, <<"a">>, <<"aa">>, <<"abc">>, [<<",">>], [<<"a">>, <<"aa">>], [<<"abc">>, <<"b">>, <<",">>, <<",,">>]],
    [begin
         Compiled = binary:compile_pattern(P),
         io:format("~p ~p: ~w~n  ~w~n", [T, P, binary:matches(T, P), [binary:split(T, P, Options) || Options <- options()]]),
         io:format("  ~w~n", [[binary:matches(T, P) =:= binary:matches(T, Compiled)
                               | [binary:split(T, P, O) =:= binary:split(T, Compiled, O) || O <- options()]]])
     end || T <- Texts, P <- Patterns],
    [io:format("~p ~w ~w~n", [Scope, catch binary:matches(<<",a,,b,,">>, <<",">>, [{scope, Scope}]),
                              catch binary:split(<<",a,,b,,">>, <<",">>, [global, trim, {scope, Scope}])])
     || Scope <- [{0, 0}, {0, 3}, {1, 4}, {6, -3}, {6, 0}, {0, 7}]],
    [begin
         Long = binary:copy(Piece, Times),
         Matches = binary:matches(Long, P),
         Parts = binary:split(Long, P, [global]),
         Trimmed = binary:split(<<Long/binary, (binary:copy(<<",">>, 1000))/binary>>, P, [global, trim]),
         garbage_collect(),
         io:format("~p ~p ~p: ~p ~p ~p ~p ~p~n",
                   [Piece, Times, P, length(Matches), lists:last(Matches), erlang:phash2(Matches), length(Parts), length(Trimmed)]),
         io:format("  ~p ~p ~p~n", [erlang:phash2(Parts), iolist_size(Parts), erlang:phash2(Trimmed)])
     end || {Piece, Times} <- [{<<"abcdefg,">>, 5000}, {<<"abcdefg,">>, 100000}, {<<",">>, 300000}],
            P <- [<<",">>, [<<",">>, <<"cd">>], [<<",">>, <<",,,">>]]].

options() ->
    [[], [global], [global, trim], [global, trim_all], [global, trim, trim_all], [trim], [trim_all]].
