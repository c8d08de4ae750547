%% processes: selective receive behind 100,000 waiting messages.
-module(selective).
-export([main/0]).
main() ->
    [self() ! {noise, N} || N <- lists:seq(1, 100000)],
    P = spawn(fun server/0),
    calls(300, P),
    drain(100000).
calls(0, _) -> ok;
calls(N, P) ->
    R = make_ref(),
    P ! {call, self(), R},
    receive {R, ok} -> calls(N - 1, P) end.
server() -> receive {call, P, R} -> P ! {R, ok}, server() end.
drain(0) -> ok;
drain(N) -> receive {noise, _} -> drain(N - 1) end.
