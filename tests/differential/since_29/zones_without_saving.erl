%% A local time that is said to be daylight saving time: in a zone that has none, as UTC, that is ignored.
-module(zones_without_saving).
-export([main/0]).

main() ->
    Local = {{2008, 8, 1}, {0, 0, 0}},
    Times = [erlang:localtime_to_universaltime(Local, Is) || Is <- [true, false, undefined]],
    io:format("~p~n", [Times]).
