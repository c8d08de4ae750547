%% Line ends of regular expressions: {newline, nul}, and options of a run that are not those of the compilation.
-module(line_ends).
-export([main/0]).

main() ->
    Subject = <<"one", 0, "two\nthree", 0>>,
    [io:format("~p ~p ~p~n", [Text, Options, found(Subject, Text, Options)])
        || Text <- ["^t.*$", "^.*$", "o$", "e.t", "\\R", "(*NUL)^t.*$", "(*LF)^t.*$"],
           Options <- [[], [multiline], [multiline, {newline, nul}], [{newline, nul}], [dotall, {newline, nul}],
               [dollar_endonly, {newline, nul}], [firstline, {newline, nul}]]],
    [io:format("~p ~p ~p~n", [Text, Options, ran(Text, Options)])
        || Text <- ["^t", "(*CRLF)^t", "(*NUL)^t", "(*BSR_ANYCRLF)\\R", "\\R"],
           Options <- [[], [{newline, nul}], [{newline, lf}], [{newline, crlf}], [bsr_anycrlf], [bsr_unicode]]],
    io:format("~p~n", [{re:split(Subject, "$", [multiline, {newline, nul}]), re:replace(Subject, "^", ">", [multiline, global, {newline, nul}])}]).

%% Compiled without the options, and from its text.
ran(Text, Options) ->
    {ok, Compiled} = re:compile(Text, [multiline]),
    [try re:run(<<"one", 0, "t\r\nt">>, Expression, More ++ Options) catch error:Reason -> Reason end
        || Expression <- [Compiled, Text], More <- [[], [global]]].

found(Subject, Text, Options) ->
    try re:run(Subject, Text, [global | Options])
    catch error:Reason -> Reason
    end.
