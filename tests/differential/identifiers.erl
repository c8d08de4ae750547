%% Pids: their numbers as text, what text stands for one, and hashes.
-module(identifiers).
-export([main/0]).
-compile({nowarn_deprecated_function, [{erlang, phash, 2}]}).

main() ->
    Texts = ["<0.0.0>", "<0.32767.0>", "<0.32768.0>", "<0.100000.0>", "<0.1.8191>", "<0.1.8192>", "<0.1.32768>", "<0.1.4294967295>", "<0.1.4294967296>", "<0.1.1000000000000>", "<0.99999999999999999999.0>", "<0.01.0>", "<0.-1.0>",
             "<0.1>", "<0.1.2", "<0.1.2>x", " <0.1.2>", "<0..0>", "<.1.0>", "<0.1.0.0>", "<1.1.0>", "", "<>"],
    [io:format("~p: ~p~n", [Text, try described(list_to_pid(Text)) catch error:Reason -> Reason end]) || Text <- Texts],
    [io:format("~p~n", [try {[c:pid(0, Number, Serial)]} catch error:Reason -> Reason end]) || {Number, Serial} <- [{1, 1}, {32767, 0}, {32768, 0}]],
    io:format("~p~n", [[erts_debug:flat_size(reference(Count)) || Count <- [1, 2, 3, 4, 5]]]),
    %% More processes than there are numbers: the serial goes up.
    io:format("~p~n", [numbered(33000, self(), 0, [])]).

%% A reference of another node, with so many numbers.
reference(Count) -> binary_to_term(<<131, 90, Count:16, 119, 3, "a@b", 1:32, (binary:copy(<<1:32>>, Count))/binary>>).

%% The highest number, and the serials, of so many processes; each is what its text and its external form stand for.
%% How far the numbers get beyond 15 bits depends on the processes that a release starts.
numbered(0, _, Highest, Serials) -> {min(Highest, 32767), lists:usort(Serials)};
numbered(Times, Before, Highest, Serials) ->
    {Pid, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Pid, normal} -> ok end,
    Text = pid_to_list(Pid),
    {true, true, true} = {Pid > Before, Pid =:= list_to_pid(Text), Pid =:= binary_to_term(term_to_binary(Pid))},
    [0, Number, Serial] = [list_to_integer(Part) || Part <- string:lexemes(Text, "<.>")],
    numbered(Times - 1, Pid, max(Number, Highest), case Serials of [Serial | _] -> Serials; _ -> [Serial | Serials] end).

described(Pid) -> {pid_to_list(Pid), erlang:phash2(Pid), erlang:phash(Pid, 1 bsl 32), term_to_binary(Pid)}.
