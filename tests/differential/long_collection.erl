%% While one process has a large heap collected, another goes on, on one scheduler as well.
-module(long_collection).
-export([main/0]).

main() ->
    Online = erlang:system_flag(schedulers_online, 1),
    Ticker = spawn(fun tick/0),
    Test = self(),
    spawn(fun() -> Test ! {taken, collections()} end),
    Taken = receive {taken, Times} -> Times end,
    Ticker ! {stop, self()},
    Turns = receive {turns, Number} -> Number end,
    %% It has turns all the time, rather than one between two collections.
    io:format("~p ~p~n", [length(Taken), Turns > 100]),
    erlang:system_flag(schedulers_online, Online).

collections() ->
    List = [{N, N} || N <- lists:seq(1, 1_000_000)],
    Test = whereis(ticker),
    Test ! count,
    Times = [element(1, timer:tc(fun() -> true = erlang:garbage_collect() end)) || _ <- lists:seq(1, 5)],
    Test ! counted,
    1_000_000 = length(List),
    Times.

tick() ->
    register(ticker, self()),
    receive count -> ok end,
    tick(0).

tick(Turns) ->
    receive
        counted -> receive {stop, From} -> From ! {turns, Turns} end
    after 0 ->
        erlang:yield(),
        tick(Turns + 1)
    end.
