%% A reference in the external format holds nothing: what it stood for is gone with the last reference in a heap.
-module(references_gone).
-export([main/0, made/1, used/2]).

main() ->
    [io:format("~p: ~p~n", [Kind, round_of(Kind)]) || Kind <- [specification, atomics, counters]].

%% Whether it stands for something while a process has it, and afterwards, when it comes back.
round_of(Kind) ->
    Parent = self(),
    {Holder, Monitor} = spawn_monitor(fun() ->
        Made = made(Kind),
        Parent ! {self(), term_to_binary(Made)},
        receive stop -> used(Kind, Made) end
    end),
    Binary = receive {Holder, External} -> External end,
    Held = used(Kind, binary_to_term(Binary)),
    Holder ! stop,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    garbage_collect(),
    [Held, used(Kind, binary_to_term(Binary))].

made(specification) -> ets:match_spec_compile([{{'$1'}, [], ['$1']}]);
made(atomics) -> atomics:new(1, []);
made(counters) -> element(2, counters:new(1, [])).

used(specification, Ref) -> [ets:is_compiled_ms(Ref), try ets:match_spec_run([{1}], Ref) catch error:Reason -> Reason end];
used(_, Ref) -> try atomics:get(Ref, 1) catch error:Reason -> Reason end.
