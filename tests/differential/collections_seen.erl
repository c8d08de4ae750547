%% Collections by kind, and what counts to a heap. Left out where every safepoint collects.
-module(collections_seen).
-export([main/0]).

main() ->
    io:format("~p~n", [kinds_of_collections()]),
    io:format("~p~n", [on_heap()]).

kinds_of_collections() ->
    [begin
         {P, M} = spawn_monitor(fun() -> receive Type -> garbage_collect(self(), [{type, Type}]) end end),
         1 = erlang:trace(P, true, [garbage_collection]),
         P ! Kind,
         receive {'DOWN', M, _, _, Reason} -> Reason end,
         erlang:trace_delivered(P),
         receive {trace_delivered, P, _} -> ok end,
         Events = [receive {trace, P, Event, _} -> Event after 0 -> none end || _ <- [1, 2]],
         flush(),
         {Kind, Events}
     end || Kind <- [minor, major]].

flush() -> receive _ -> flush() after 0 -> ok end.

%% Messages count to the heap where they are to be on it.
on_heap() ->
    [begin
         P = spawn_opt(fun() -> receive stop -> ok end end, [{message_queue_data, Place}, link]),
         {_, Before} = process_info(P, total_heap_size),
         [P ! lists:duplicate(N, N) || N <- lists:seq(1, 100)],
         {_, _} = process_info(P, messages),
         {_, After} = process_info(P, total_heap_size),
         P ! stop,
         {Place, After > Before}
     end || Place <- [on_heap, off_heap]].
