%% Processes that are ended, asked and traced while a library's function has them on a dirty scheduler.
-module(nif_dirty).
-export([main/0, rest_cpu/2, rest_io/2]).
-nifs([rest_cpu/2, rest_io/2]).

-define(LONG, 1000).

main() ->
    ok = erlang:load_nif("./nif_dirty", 0),
    process_flag(trap_exit, true),
    [io:format("~p ~p: ~0p~n", [Kind, Case, steps(Case, Kind)]) || Kind <- [rest_cpu, rest_io],
        Case <- [killed, linked, trapping, ended_by_name, asked, looked_at, many, traced]].

rest_cpu(_To, _Ms) -> erlang:nif_error(not_loaded).
rest_io(_To, _Ms) -> erlang:nif_error(not_loaded).

%% A process that rests in such a function, and whether what is done next takes less time than that.
resting(Kind, Ms) -> resting(Kind, Ms, fun() -> ok end).
resting(Kind, Ms, First) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> First(), ?MODULE:Kind(Self, Ms), Self ! returned end),
    receive begins -> {Pid, Monitor} end.

quickly(Fun) ->
    Start = erlang:monotonic_time(millisecond),
    Result = Fun(),
    {Result, erlang:monotonic_time(millisecond) - Start < ?LONG div 2}.

shown(links, [Self], Self) -> {links, [me]};
shown(Key, Value, _) -> {Key, Value}.

down(Monitor) -> receive {'DOWN', Monitor, process, _, Reason} -> Reason end.
ends() ->
    receive {ends, Before, After, Sent} -> {Before, After, Sent, receive late -> late after 0 -> nothing end} end.
returned() -> receive returned -> true after 100 -> false end.

steps(killed, Kind) ->
    {Pid, Monitor} = resting(Kind, ?LONG),
    exit(Pid, kill),
    Seen = quickly(fun() -> {down(Monitor), is_process_alive(Pid), process_info(Pid), lists:member(Pid, processes())} end),
    [Seen, ends(), returned()];
steps(linked, Kind) ->
    Self = self(),
    {Pid, Monitor} = resting(Kind, ?LONG, fun() -> link(Self) end),
    exit(Pid, {a, reason, "with", <<"parts">>}),
    Seen = quickly(fun() -> {down(Monitor), receive {'EXIT', Pid, Reason} -> Reason end} end),
    [Seen, ends(), returned()];
steps(trapping, Kind) ->
    {Pid, Monitor} = resting(Kind, 200, fun() -> process_flag(trap_exit, true) end),
    exit(Pid, no_matter),
    [ends(), returned(), down(Monitor)];
steps(ended_by_name, Kind) ->
    {_, Monitor} = resting(Kind, ?LONG, fun() -> register(rests, self()), ets:new(resting_table, [named_table]) end),
    exit(whereis(rests), because),
    Seen = quickly(fun() -> {down(Monitor), whereis(rests), ets:info(resting_table, size)} end),
    [Seen, ends(), returned()];
steps(asked, Kind) ->
    {Pid, Monitor} = resting(Kind, ?LONG),
    Seen = quickly(fun() -> is_process_alive(Pid) end),
    [Seen, ends(), returned(), down(Monitor)];
steps(looked_at, Kind) ->
    Self = self(),
    {Pid, Monitor} = resting(Kind, ?LONG, fun() -> put(key, {"kept", 1.5}), link(Self), process_flag(priority, low) end),
    [Pid ! N || N <- [1, 2, 3]],
    Items = [current_function, dictionary, links, priority, message_queue_len, status, registered_name],
    Seen = quickly(fun() ->
        All = process_info(Pid),
        Sizes = [is_integer(proplists:get_value(Size, All)) || Size <- [total_heap_size, heap_size, stack_size, reductions]],
        {[Item || {Key, Value} <- process_info(Pid, Items), Item <- [shown(Key, Value, Self)]], Sizes}
    end),
    ends(),
    returned(),
    down(Monitor),
    receive {'EXIT', Pid, normal} -> Seen end;
steps(many, Kind) ->
    All = [resting(Kind, 300) || _ <- lists:seq(1, 2)],
    [exit(Pid, kill) || {Pid, _} <- All],
    [[down(Monitor) || {_, Monitor} <- All], [ends() || _ <- All], returned()];
steps(traced, Kind) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> receive go -> ok end, ?MODULE:Kind(Self, 50) end),
    1 = erlang:trace(Pid, true, [running]),
    Pid ! go,
    receive begins -> ok end,
    ends(),
    down(Monitor),
    %% At least once it is taken up in the function, and put aside.
    Events = events(Pid),
    [lists:member({in, {?MODULE, Kind, 2}}, Events), lists:member({out, {?MODULE, Kind, 2}}, Events)].

events(Pid) ->
    receive {trace, Pid, Event, Where} -> [{Event, Where} | events(Pid)] after 100 -> [] end.
