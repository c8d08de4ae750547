%% Pids: their numbers as text, what text stands for one, and hashes.
-module(identifiers).
-export([main/0]).
-compile({nowarn_deprecated_function, [{erlang, phash, 2}]}).

main() ->
    Texts = ["<0.0.0>", "<0.32767.0>", "<0.32768.0>", "<0.100000.0>", "<0.1.8191>", "<0.1.1000000000000>", "<0.99999999999999999999.0>", "<0.01.0>", "<0.-1.0>",
             "<0.1>", "<0.1.2", "<0.1.2>x", " <0.1.2>", "<0..0>", "<.1.0>", "<0.1.0.0>", "<1.1.0>", "", "<>"],
    [io:format("~p: ~p~n", [Text, try described(list_to_pid(Text)) catch error:Reason -> Reason end]) || Text <- Texts],
    [io:format("~p~n", [try {[c:pid(0, Number, Serial)]} catch error:Reason -> Reason end]) || {Number, Serial} <- [{1, 1}, {32767, 0}, {32768, 0}]],
    %% More processes than there are numbers: the serial goes up.
    Pids = [spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 40000)],
    Parts = [[list_to_integer(Part) || Part <- string:lexemes(pid_to_list(Pid), "<.>")] || Pid <- Pids],
    io:format("~p~n", [{length(lists:usort(Parts)), lists:max([Number || [_, Number, _] <- Parts]), lists:usort([Serial || [_, _, Serial] <- Parts])}]),
    io:format("~p~n", [Pids =:= lists:sort(Pids)]),
    io:format("~p~n", [[Pid || Pid <- Pids, list_to_pid(pid_to_list(Pid)) =/= Pid orelse binary_to_term(term_to_binary(Pid)) =/= Pid]]),
    [exit(Pid, kill) || Pid <- Pids],
    ok.

described(Pid) -> {pid_to_list(Pid), erlang:phash2(Pid), erlang:phash(Pid, 1 bsl 32), term_to_binary(Pid)}.
