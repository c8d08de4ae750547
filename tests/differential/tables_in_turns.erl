%% Large tables are deleted, emptied, and left behind by their owners in turns: other processes run in between, and nobody sees
%% half of it.
-module(tables_in_turns).
-export([main/0]).

-define(OBJECTS, 100000).

main() ->
    [io:format("~p ~p: ~p~n", [What, Type, in_turns(What, Type)])
     || What <- [delete, delete_all, delete_all_fixed], Type <- [set, ordered_set]],
    [io:format("exit with ~p: ~p~n", [What, exit_in_turns(What)]) || What <- [large, fixed, many]],
    io:format("killed while deleting: ~p~n", [killed_while_deleting()]),
    io:format("heirs: ~p~n", [heirs()]).

filled(Type) ->
    Table = ets:new(table, [Type, public]),
    fill(Table, ?OBJECTS),
    Table.

%% One by one: no list to be copied by collections.
fill(_, 0) -> ok;
fill(Table, N) ->
    true = ets:insert(Table, {N, N}),
    fill(Table, N - 1).

%% How often the process was scheduled out in a built-in, and what others saw then.
in_turns(What, Type) ->
    Self = self(),
    Table = filled(Type),
    {Other, Monitor} = spawn_monitor(fun() -> exit(looks_on(Self, Table)) end),
    What =:= delete_all_fixed andalso ets:safe_fixtable(Table, true),
    Other ! {self(), ready},
    receive ready -> ok end,
    Deletes = case What of
        delete -> ets:delete(Table);
        _ -> ets:delete_all_objects(Table)
    end,
    Other ! done,
    Seen = receive {'DOWN', Monitor, _, _, Result} -> Result end,
    Left = ets:info(Table, size),
    Left =:= undefined orelse ets:delete(Table),
    {Deletes, Seen, Left}.

looks_on(Who, Table) ->
    receive {Who, ready} -> ok end,
    erlang:trace(Who, true, [running]),
    Who ! ready,
    looks(Table, [], 0).

looks(Table, Sizes, Outs) ->
    receive
        done -> {Outs >= 1, lists:usort(Sizes)};
        {trace, _, out, {ets, _, _}} -> looks(Table, [ets:info(Table, size) | Sizes], Outs + 1);
        {trace, _, _, _} -> looks(Table, Sizes, Outs)
    end.

exit_in_turns(What) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Tables = case What of
            large -> [filled(set)];
            fixed -> T = filled(set), ets:safe_fixtable(T, true), ets:match_delete(T, '_'), [T];
            many -> [ets:new(table, [named_table, public]) || _ <- [1]] ++ [ets:new(table, []) || _ <- lists:seq(2, 2000)]
        end,
        register(owner, self()),
        Self ! {self(), Tables},
        receive go -> ok end
    end),
    Tables = receive {Pid, Of} -> Of end,
    erlang:trace(Pid, true, [exiting]),
    exit(Pid, bye),
    Outs = exiting(Pid, 0),
    Reason = receive {'DOWN', Monitor, _, _, Why} -> Why end,
    {Outs >= 3, Reason, whereis(owner), is_process_alive(Pid), lists:usort([ets:info(T, size) || T <- Tables]),
     ets:whereis(table)}.

exiting(Pid, Outs) ->
    receive
        {trace, Pid, out_exiting, 0} ->
            receive {trace, Pid, in_exiting, 0} -> exiting(Pid, Outs + 1) end;
        {trace, Pid, out_exited, 0} -> Outs
    end.

%% A process that is killed in the middle frees the rest.
killed_while_deleting() ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Table = filled(ordered_set),
        Self ! {self(), Table},
        receive go -> ets:delete(Table) end,
        receive never -> ok end
    end),
    Table = receive {Pid, T} -> T end,
    erlang:trace(Pid, true, [running]),
    Pid ! go,
    receive {trace, Pid, out, {ets, _, _}} -> exit(Pid, kill) end,
    {receive {'DOWN', Monitor, _, _, Why} -> Why end, ets:info(Table)}.

%% A table goes to the heir, or away with it, whenever the heir ends.
heirs() ->
    lists:usort([begin
        Heir = spawn(fun() ->
            [ets:new(own, []) || _ <- lists:seq(1, 300)],
            receive {'ETS-TRANSFER', _, _, _} -> receive stop -> ok end; stop -> ok end
        end),
        Self = self(),
        {Owner, Monitor} = spawn_monitor(fun() ->
            Self ! {self(), ets:new(given, [{heir, Heir, data}])},
            receive stop -> ok end
        end),
        Table = receive {Owner, T} -> T end,
        HeirMonitor = monitor(process, Heir),
        [Pid ! stop || Pid <- case N rem 2 of 0 -> [Heir, Owner]; 1 -> [Owner, Heir] end],
        Heir ! stop,
        receive {'DOWN', Monitor, _, _, _} -> ok end,
        receive {'DOWN', HeirMonitor, _, _, _} -> ok end,
        ets:info(Table)
    end || N <- lists:seq(1, 200)]).
