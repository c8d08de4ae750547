%% processes: selective receive behind 100,000 waiting messages. Only the calls are measured.
-module(selective).
-export([main/0]).
main() ->
    [self() ! {noise, N} || N <- lists:seq(1, 100000)],
    P = spawn(fun server/0),
    T0 = erlang:monotonic_time(microsecond),
    calls(20000, P),
    Scan = scans(50, P),
    T1 = erlang:monotonic_time(microsecond),
    ok = Scan,
    {measured, T1 - T0}.
%% The reference is made before the request, so the mailbox need not be searched.
calls(0, _) -> ok;
calls(N, P) ->
    R = make_ref(),
    P ! {call, self(), R},
    receive {R, ok} -> calls(N - 1, P) end.
%% Here it has to be.
scans(0, _) -> ok;
scans(N, P) ->
    P ! {call, self(), N},
    receive {N, ok} -> scans(N - 1, P) end.
server() -> receive {call, P, R} -> P ! {R, ok}, server() end.
