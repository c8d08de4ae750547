%% Where a process starts with a fun, and where erlang:apply/2,3 are called as functions, and not as the instructions that
%% they mostly are: what tracing, counting and measuring say of that.
-module(tracing_of_starts).
-export([main/0, f/1, id/1]).

f(X) -> X.
id(X) -> X.

main() ->
    logger:set_primary_config(level, none),
    Functions = [{erlang, apply, 2}, {erlang, apply, 3}, {?MODULE, '_', '_'}, {'_', '_', '_'}],
    [traced(Function, Flag) || Function <- Functions, Flag <- [local, global]],
    [counted({erlang, apply, Arity}, What) || Arity <- [2, 3], What <- [call_count, call_time]],
    ended().

%% The events of all new processes while each of them is started and ends.
traced(Function, Flag) ->
    io:format("~p~n", [{Function, Flag}]),
    Main = self(),
    Tracer = spawn(fun() -> collect([], Main) end),
    erlang:trace_pattern(Function, [{'_', [], [{exception_trace}]}], [Flag]),
    [begin
         erlang:trace(new, true, [call, procs, {tracer, Tracer}]),
         {Pid, Ref} = Start(),
         receive {'DOWN', Ref, process, Pid, _} -> ok end,
         erlang:trace(new, false, [all]),
         Delivered = erlang:trace_delivered(all),
         receive {trace_delivered, all, Delivered} -> ok end,
         Tracer ! get,
         receive {events, Events} -> io:format(" ~p~n  ~p~n", [Name, [plain(Event) || Event <- Events]]) end
     end || {Name, Start} <- starts()],
    erlang:trace_pattern(Function, false, [Flag]),
    exit(Tracer, kill).

starts() ->
    F = fun() -> f(1) end,
    Apply2 = fun erlang:apply/2,
    Apply3 = fun erlang:apply/3,
    InFun = fun(Run) -> fun() -> spawn_monitor(Run) end end,
    [{a_fun, InFun(F)},
     {a_fun_with_options, fun() -> spawn_opt(F, [monitor]) end},
     {a_function, fun() -> spawn_monitor(?MODULE, f, [2]) end},
     {an_external_fun, InFun(fun erlang:node/0)},
     {apply2, fun() -> spawn_monitor(erlang, apply, [F, []]) end},
     {apply3, fun() -> spawn_monitor(erlang, apply, [?MODULE, f, [3]]) end},
     {instructions, InFun(fun() -> apply(id(F), id([])), apply(id(?MODULE), id(f), id([4])), ok end)},
     {funs, InFun(fun() -> (id(Apply2))(F, []), (id(Apply3))(?MODULE, f, [5]) end)},
     {by_name, InFun(fun() -> (id(erlang)):(id(apply))(F, []), (id(erlang)):(id(apply))(?MODULE, f, [6]), ok end)},
     {in_lists, InFun(fun() -> apply(id(erlang), id(apply), id([F, []])), apply(id(erlang), id(apply), id([?MODULE, f, [7]])) end)},
     {lists_for_funs, InFun(fun() -> apply(id(Apply2), id([F, []])), apply(id(Apply3), id([?MODULE, f, [8]])) end)},
     {no_fun, InFun(fun() -> catch (id(Apply2))(id(foo), []), ok end)},
     {no_list, InFun(fun() -> catch (id(Apply2))(F, id(foo)), ok end)}].

collect(Events, Main) ->
    receive
        get -> Main ! {events, lists:reverse(Events)}, collect([], Main);
        Event -> collect([Event | Events], Main)
    end.

plain(Pid) when is_pid(Pid) -> pid;
plain(Ref) when is_reference(Ref) -> ref;
plain(Fun) when is_function(Fun) ->
    case erlang:fun_info(Fun, type) of
        {type, external} -> Fun;
        {type, local} -> a_fun
    end;
plain([Head | Tail]) -> [plain(Head) | plain(Tail)];
plain(Tuple) when is_tuple(Tuple) -> list_to_tuple(plain(tuple_to_list(Tuple)));
plain(Other) -> Other.

counted({erlang, apply, Arity} = Function, What) ->
    1 = erlang:trace_pattern(Function, true, [What]),
    erlang:trace(new, true, [call]),
    F = fun() -> f(1) end,
    Starts = [fun() -> spawn_monitor(F) end, fun() -> spawn_monitor(erlang, apply, [?MODULE, f, [1]]) end],
    [begin {Pid, Ref} = Start(), receive {'DOWN', Ref, process, Pid, _} -> ok end end || Start <- Starts, _ <- [1, 2, 3]],
    erlang:trace(new, false, [call]),
    Calls =
        case erlang:trace_info(Function, What) of
            {call_time, Times} -> [Count || {_, Count, _, _} <- Times];
            {call_count, Count} -> Count
        end,
    io:format("~p~n", [{Arity, What, Calls}]),
    erlang:trace_pattern(Function, false, [What]).

%% What a process that was started so knows of itself, and what is told of its end.
ended() ->
    erlang:trace_pattern({erlang, apply, 2}, [{'_', [], [{exception_trace}]}], [local]),
    erlang:trace(new, true, [call]),
    {Pid, Ref} = spawn_monitor(fun() ->
        Stack = try error(x) catch error:x:Trace -> [{M, F, A} || {M, F, A, _} <- Trace] end,
        exit({Stack, process_info(self(), [initial_call, current_function])})
    end),
    receive {'DOWN', Ref, process, Pid, Why} -> io:format("~p~n", [Why]) end,
    erlang:trace(new, false, [call]),
    Delivered = erlang:trace_delivered(all),
    receive {trace_delivered, all, Delivered} -> ok end,
    io:format("~p~n", [plain(messages())]).

messages() -> receive Message -> [Message | messages()] after 0 -> [] end.
