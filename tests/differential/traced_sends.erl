%% A traced process that sends to names which nobody has.
-module(traced_sends).
-export([main/0]).

main() ->
    S = self(),
    P = spawn(fun () ->
                      receive go -> ok end,
                      catch nosuchname_x ! hello,
                      catch erlang:send(nosuchname_y, hi, []),
                      {nosuchname_z, node()} ! hi,
                      {x, a@b} ! hi,
                      S ! done,
                      receive stop -> ok end
              end),
    erlang:trace(P, true, [send, 'receive', procs]),
    P ! go,
    receive done -> ok end,
    erlang:trace(P, false, [all]),
    P ! stop,
    pr().

pr() ->
    receive
        X ->
            io:format("~p~n", [X]),
            pr()
        after 200 -> ok
    end.