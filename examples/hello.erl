%% The first program: script/run examples/hello.erl World
-module(hello).
-export([main/1]).

main([]) -> io:format("Hello from Erlang on SwarmRT!~n");
main(Names) -> [io:format("Hello, ~ts!~n", [Name]) || Name <- Names].
