%% Ports that read lines: what comes of lines that are too long or have no end, and in which order with status and end of file.
-module(line_ports).
-export([main/0]).

main() ->
    [say({Limit, Text, Options}, opened(Limit, Text, Options))
     || Limit <- [1, 3, 5, 100], Text <- ["hello\nworld", "hello\n", "hello", "", "\n\nab\n", "one\r\nhello\r\r\n", "\r\n\r", "hello\r"], Options <- [[], [stderr_to_stdout, hide], [eof]]],
    [say({combined, Options}, combined(Options))
     || Options <- [[line], [line, stream], [stream, line], [{line, 5}, line], [line, {line, 5}], [{line, 5}, stream],
                    [{packet, 2}, line], [line, {packet, 2}], [{line, 5}, {packet, 2}], [{packet, 2}, {line, 5}],
                    [{packet, 2}, stream, line], [{packet, 2}, line, stream], [{packet, 2}, {line, 5}, stream],
                    [line, stream, {packet, 2}]]],
    say(no_limit, try opened(0, "a", []) catch error:Reason -> Reason end).

opened(Limit, Text, Options) ->
    Port = open_port({spawn_executable, "/bin/echo"}, [{line, Limit}, exit_status, binary, {args, ["-n", Text]} | Options]),
    messages(Port, lists:member(eof, Options)).

%% The size of the first message; the text is longer than the limit of lines that names none.
combined(Options) ->
    try open_port({spawn_executable, "/bin/echo"}, [binary, {args, ["-n", lists:duplicate(600, $a)]} | Options]) of
        Port -> receive {Port, {data, {Kind, Data}}} -> {Kind, byte_size(Data)}; {Port, Other} -> Other after 5000 -> nothing end
    catch
        error:Reason -> Reason
    end.

messages(Port, HasEof) ->
    receive
        {Port, eof} -> [eof];
        {Port, {exit_status, Status}} when not HasEof -> [Status | rest(Port)];
        {Port, Data} -> [Data | messages(Port, HasEof)]
    after 5000 -> [nothing]
    end.

rest(Port) ->
    receive {Port, Data} -> [Data | rest(Port)] after 20 -> [] end.

say(Name, Result) -> io:format("~p: ~p~n", [Name, Result]).
