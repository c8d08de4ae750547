%% Who is told of processes that hold others up, and of what.
-module(system_monitors).
-export([main/0]).

main() ->
    All = [busy_port, {long_gc, 10000}, {large_heap, 100000}, busy_dist_port, {long_schedule, 20000}],
    say([erlang:system_monitor(), erlang:system_monitor(self(), All)]),
    say(settings(erlang:system_monitor())),
    say([settings(erlang:system_monitor(undefined)), erlang:system_monitor()]),
    say(erlang:system_monitor({self(), [{large_heap, 17000}]})),
    Pid = spawn(fun() ->
        List = lists:seq(1, 12000),
        garbage_collect(),
        receive go -> length(List) end
    end),
    receive
        {monitor, Pid, large_heap, Info} -> say([{Name, is_integer(Words)} || {Name, Words} <- Info])
    after 5000 -> say(nothing)
    end,
    say([settings(erlang:system_monitor(self(), [])), erlang:system_monitor()]),
    %% The smallest limits.
    erlang:system_monitor(self(), [{long_gc, 0}, {large_heap, 1}]),
    say(settings(erlang:system_monitor(undefined, [busy_port]))),
    Bad = [{self(), [foo]}, {self(), [{long_gc, -1}]}, {x, [busy_port]}, {self(), [busy_port | x]}, {self(), [{long_gc, a}]}, {self(), foo}],
    say([try erlang:system_monitor(Who, What) catch error:Reason -> Reason end || {Who, What} <- Bad]),
    {Other, Ref} = spawn_monitor(fun() -> erlang:system_monitor(self(), [busy_port]) end),
    receive {'DOWN', Ref, process, Other, _} -> ok end,
    say(erlang:system_monitor()).

settings({Pid, Options}) -> {Pid =:= self(), Options};
settings(Other) -> Other.

say(Term) -> io:format("~p~n", [Term]).
