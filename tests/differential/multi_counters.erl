%% Counters that several schedulers write to at once: nothing is lost, and a process sees what it wrote.
-module(multi_counters).
-export([main/0]).

-define(PROCESSES, 8).
-define(ADDITIONS, 2000).

main() ->
    [begin
         concurrent(Type),
         sequential(Type),
         limits(Type)
     end || Type <- [atomics, write_concurrency]],
    memory().

%% Neighbours in a group of counters, and the first of the next.
concurrent(Type) ->
    Counters = counters:new(20, [Type]),
    Indexes = [1, 2, 8, 9, 20],
    Workers = [spawn_monitor(fun() -> add(Counters, Indexes, ?ADDITIONS) end) || _ <- lists:seq(1, ?PROCESSES)],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Workers],
    io:format("~p: ~w~n", [Type, [counters:get(Counters, Index) || Index <- lists:seq(1, 20)]]).

add(_, _, 0) -> ok;
add(Counters, Indexes, Left) ->
    [counters:add(Counters, Index, Index) || Index <- Indexes],
    Left rem 100 =:= 0 andalso erlang:yield(),
    add(Counters, Indexes, Left - 1).

%% Each step by another process, which may run on another scheduler.
sequential(Type) ->
    Counters = counters:new(3, [Type]),
    Steps = [fun() -> counters:put(Counters, 2, 100) end,
             fun() -> counters:add(Counters, 2, 5) end,
             fun() -> counters:sub(Counters, 2, 106) end,
             fun() -> counters:put(Counters, 2, -321) end,
             fun() -> counters:add(Counters, 2, 321) end],
    Values = [begin
                  {Pid, Monitor} = spawn_monitor(Step),
                  receive {'DOWN', Monitor, process, Pid, normal} -> counters:get(Counters, 2) end
              end || Step <- Steps],
    io:format("~p: ~w, neighbours ~w~n", [Type, Values, [counters:get(Counters, Index) || Index <- [1, 3]]]).

limits(Type) ->
    Counters = counters:new(9, [Type]),
    Max = 1 bsl 63 - 1,
    counters:put(Counters, 9, Max),
    counters:add(Counters, 9, 1),
    io:format("~p: ~w ~w~n", [Type, counters:get(Counters, 9) =:= -Max - 1, maps:get(size, counters:info(Counters))]),
    Calls = [fun() -> counters:get(Counters, 10) end,
             fun() -> counters:add(Counters, 0, 1) end,
             fun() -> counters:put(Counters, 1, Max + 1) end,
             fun() -> counters:add(Counters, 1, 1 bsl 64) end,
             fun() -> counters:new(0, [Type]) end,
             fun() -> counters:new(1 bsl 64, [Type]) end],
    io:format("~p: ~w~n", [Type, [try Call() catch error:Reason -> Reason end || Call <- Calls]]).

%% Memory for each scheduler, as much as counters that do not share it would take.
memory() ->
    Memory = fun(Size, Type) -> maps:get(memory, counters:info(counters:new(Size, [Type]))) end,
    Parts = erlang:system_info(schedulers) + 1,
    io:format("~w~n", [[Memory(Size, atomics) < Size * 8 + 100 || Size <- [1, 10, 1000]]]),
    io:format("~w~n", [[begin
                            Bytes = Memory(Size, write_concurrency),
                            Bytes > Parts * Size * 8 andalso Bytes < Parts * (Size + 7) * 8 + 100
                        end || Size <- [1, 10, 1000]]]).
