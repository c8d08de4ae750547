%% A compiled regular expression holds a reference, which is its own and means something on its node only.
-module(compiled_expressions).
-export([main/0]).

main() ->
    {ok, {re_pattern, 1, 0, 0, Held} = Pattern} = re:compile("ab(c)"),
    {ok, Same} = re:compile("ab(c)"),
    io:format("~p~n", [[is_reference(Held), is_binary(Held), Pattern =:= Same, Pattern =:= {re_pattern, 1, 0, 0, Held}]]),
    io:format("~p~n", [[re:run("xabc", Pattern), re:run("xabc", Same), re:replace("abcabc", Pattern, "<\\1>", [global, {return, list}]),
                        re:split("xabcy", Pattern), re:run("abcabc", Pattern, [global]), re:inspect(Pattern, namelist)]]),
    % By another process, from a table, from a persistent term and from bytes, also when nobody else holds it.
    Main = self(),
    spawn(fun() -> Main ! {compiled, re:compile("(?<name>a+)b", [unicode])} end),
    receive {compiled, {ok, Sent}} -> io:format("~p~n", [[re:run(<<"xaab">>, Sent), re:inspect(Sent, namelist)]]) end,
    Table = ets:new(patterns, []),
    ets:insert(Table, {pattern, element(2, re:compile("b+"))}),
    persistent_term:put(?MODULE, element(2, re:compile("c+"))),
    erlang:garbage_collect(),
    io:format("~p~n", [[re:run("abbc", ets:lookup_element(Table, pattern, 2)), re:run("abcc", persistent_term:get(?MODULE))]]),
    Bytes = term_to_binary(Pattern),
    io:format("~p~n", [[binary_to_term(Bytes) =:= Pattern, re:run("xabc", binary_to_term(Bytes))]]),
    % What is no pattern.
    [io:format("~p~n", [try re:run("abc", {re_pattern, 1, 0, 0, Other}) catch error:Reason -> Reason end])
     || Other <- [make_ref(), atomics:new(1, []), <<"abc">>, <<>>, foo]],
    % What is exported is no pattern yet, and what is imported is one.
    {ok, Exported} = re:compile("a(b)", [export]),
    io:format("~p~n", [[element(1, Exported), try re:run("ab", Exported) catch error:badarg -> badarg end]]),
    {re_pattern, 1, 0, 0, Reference} = Imported = re:import(Exported),
    io:format("~p~n", [[is_reference(Reference), re:run("ab", Imported)]]).
