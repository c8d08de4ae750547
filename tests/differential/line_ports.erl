%% Ports that read lines: what comes of lines that are too long or have no end, and in which order with status and end of file.
-module(line_ports).
-export([main/0]).

main() ->
    [say({Limit, Text, Options}, opened(Limit, Text, Options))
     || Limit <- [1, 3, 5, 100], Text <- ["hello\nworld", "hello\n", "hello", "", "\n\nab\n"], Options <- [[], [stderr_to_stdout, hide], [eof]]],
    say(no_limit, try opened(0, "a", []) catch error:Reason -> Reason end).

opened(Limit, Text, Options) ->
    Port = open_port({spawn_executable, "/bin/echo"}, [{line, Limit}, exit_status, binary, {args, ["-n", Text]} | Options]),
    messages(Port, lists:member(eof, Options)).

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
