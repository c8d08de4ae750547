%% jiffy: JSON from and to terms, with functions that schedule themselves again.
-module(json).
-export([main/0]).

main() ->
    Terms = [{[{<<"a">>, 1}, {<<"b">>, [true, false, null, 1.5, -7]}]}, [], {[]}, <<"text \x{2603} \"quoted\""/utf8>>,
             1 bsl 70, -(1 bsl 64), 1.0e300, 0.1, lists:seq(1, 20)],
    [io:format("~p~n", [iolist_to_binary(jiffy:encode(Term))]) || Term <- Terms],
    [io:format("~p~n", [jiffy:decode(jiffy:encode(Term)) =:= Term]) || Term <- Terms],
    io:format("~p~n", [jiffy:decode(<<"{\"x\": {\"y\": [1, 2, {\"z\": \"\\u00e9\\ud83d\\ude00\"}]}}">>, [return_maps])]),
    io:format("~s~n", [jiffy:encode(#{a => [1, 2], b => #{}}, [pretty])]),
    [io:format("~p~n", [failure(fun() -> jiffy:decode(Text) end)]) || Text <- [<<"{">>, <<"[1,">>, <<"nul">>, <<"\"\\x\"">>, <<255>>, <<>>]],
    [io:format("~p~n", [failure(fun() -> jiffy:encode(Term) end)]) || Term <- [{a, b, c}, self, fun() -> ok end, [1 | 2], <<255>>]],
    %% More than one turn takes.
    Large = {[{integer_to_binary(N), [N, N * 1.5, <<"value ", (integer_to_binary(N))/binary>>, {[{<<"k">>, N}]}]} || N <- lists:seq(1, 20000)]},
    Text = iolist_to_binary(jiffy:encode(Large)),
    io:format("~p ~p ~p~n", [byte_size(Text), erlang:md5(Text), jiffy:decode(Text) =:= Large]),
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), [jiffy:decode(Text) =:= Large || _ <- lists:seq(1, 3)]} end) || _ <- lists:seq(1, 4)],
    io:format("~p~n", [[receive {Pid, Result} -> Result end || Pid <- Pids]]).

failure(Fun) ->
    try Fun() of
        Value -> {value, Value}
    catch
        Class:Reason when is_function(Reason) -> {Class, 'fun'};
        Class:{Name, Fun2} when is_function(Fun2) -> {Class, Name, 'fun'};
        Class:Reason -> {Class, Reason}
    end.
