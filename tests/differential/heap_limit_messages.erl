%% Messages that wait count towards the largest heap of a process, unless they are kept off its heap.
-module(heap_limit_messages).
-export([main/0]).

main() -> [say(Place, limited(Place)) || Place <- [on_heap, off_heap]].

limited(Place) ->
    {Pid, Ref} = spawn_opt(fun() -> receive stop -> ok end end,
        [monitor, {max_heap_size, #{size => 1024, kill => true, error_logger => false}}, {message_queue_data, Place}]),
    [Pid ! lists:duplicate(I, I) || I <- lists:seq(1, 100)],
    {messages, [_ | _]} = process_info(Pid, messages),
    garbage_collect(Pid),
    Pid ! stop,
    receive {'DOWN', Ref, process, Pid, Reason} -> Reason after 5000 -> nothing end.

say(Place, Reason) -> io:format("~p: ~p~n", [Place, Reason]).
