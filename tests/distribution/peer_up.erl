%% Says that a node is up.
-module(peer_up).
-export([up/0]).
up() -> io:format("up~n").
