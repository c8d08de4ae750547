%% Pids of this node that no process has: serials up to the largest of the release, and earlier incarnations of the node.
-module(pids_of_nobody).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Here = erlang:system_info(creation),
    Given = [{Number, Serial} || Number <- [1, 32767, 32768, (1 bsl 28) - 1, 1 bsl 28], Serial <- [0, 8191, 8192, 32767, 32768, (1 bsl 32) - 1]],
    Pids = [P || Parts <- Given, P <- [pid(Parts, Here)], is_pid(P)],
    io:format("~p~n", [[numbers(pid(Parts, Here)) || Parts <- Given]]),
    io:format("~p~n", [[numbers(pid(Parts, Here + 1)) || Parts <- Given]]),
    io:format("~p~n", [[t(fun() -> list_to_pid(lists:flatten(io_lib:format("<0.~w.~w>", [N, S]))) end) =:= pid({N, S}, Here) || {N, S} <- Given]]),
    io:format("~p~n", [lists:usort([{binary_to_term(term_to_binary(P)) =:= P, list_to_pid(pid_to_list(P)) =:= P, node(P)} || P <- Pids])]),
    io:format("~p~n", [[numbers(P) || P <- lists:sort(Pids ++ [pid(Parts, Here + 1) || Parts <- Given])]]),
    io:format("~p~n", [[erlang:phash2(P) || P <- Pids]]),
    io:format("~p~n", [length(maps:keys(maps:from_list([{P, P} || P <- Pids])))]),
    Beyond = lists:last(Pids),
    io:format("~p~n", [[t(fun() -> F(Beyond) end) || F <- [fun is_process_alive/1, fun(P) -> P ! hello end, fun link/1, fun unlink/1,
        fun process_info/1, fun(P) -> process_info(P, links) end, fun(P) -> group_leader(self(), P) end, fun erlang:suspend_process/1,
        fun erlang:garbage_collect/1, fun(P) -> exit(P, kill) end, fun(P) -> register(nobody, P) end,
        fun(P) -> is_reference(erlang:send_after(0, P, hello)) end, fun(P) -> erlang:read_timer(erlang:start_timer(100000, P, hello)) end, fun(P) -> gen_server:call(P, hello) end]]]),
    Ref = monitor(process, Beyond),
    receive {'DOWN', Ref, process, Pid, Why} -> io:format("~p ~p~n", [Pid =:= Beyond, Why]) end.

pid({Number, Serial}, Creation) ->
    t(fun() -> binary_to_term(<<131, $X, 119, 13, "nonode@nohost", Number:32, Serial:32, Creation:32>>) end).

%% As its text says, and as it is printed: the test takes what looks like a pid out of what is printed.
numbers(Pid) when is_pid(Pid) ->
    Text = pid_to_list(Pid),
    Text = lists:flatten(io_lib:format("~p", [Pid])),
    [list_to_integer(Number) || Number <- string:lexemes(Text, "<.>")];
numbers(Error) -> Error.

t(F) -> try F() catch C:E -> {C, E} end.
