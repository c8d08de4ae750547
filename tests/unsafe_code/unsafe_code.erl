%% Modules that no compiler writes, assembled past OTP's validator: each is refused when it is loaded, or it runs without
%% harm. docs/verifier.md says why, rule by rule.
-module(unsafe_code).
-export([main/0, log/2]).

main() ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(?MODULE, ?MODULE, #{}),
    ets:new(?MODULE, [named_table, public]),
    lists:foreach(fun check/1, cases()),
    forged_funs(),
    io:format("~p cases~n", [length(cases())]).

check({Name, Functions, Expected}) ->
    Binary = assemble(Name, Functions),
    case {erts_internal:prepare_loading(Name, Binary), Expected} of
        {{error, badfile}, {refused, Why}} ->
            Told = reason(Name),
            string:find(Told, Why) =:= nomatch andalso io:format("~p is refused: ~ts~n", [Name, Told]);
        {{error, badfile}, {runs, _}} ->
            io:format("~p is refused: ~ts~n", [Name, reason(Name)]);
        {_, {refused, _}} ->
            io:format("~p is accepted~n", [Name]);
        {_, {runs, Run}} ->
            {module, Name} = code:load_binary(Name, "", Binary),
            try
                Run(Name)
            catch
                Class:Reason:Trace -> io:format("~p: ~p~n", [Name, {Class, Reason, Trace}])
            end
    end.

%% Why a module was refused is told to the logger.
log(#{msg := {Format, Arguments}}, _) ->
    case Arguments of
        [Name, Reason | _] when is_list(Format) -> ets:insert(?MODULE, {lists:flatten(io_lib:format("~ts", [Name])), Reason});
        _ -> ok
    end.

reason(Name) ->
    case ets:lookup(?MODULE, atom_to_list(Name)) of
        [{_, Reason}] ->
            Reason;
        [] ->
            receive after 1 -> reason(Name) end
    end.

%% External terms that say they are a fun of this module, with more or fewer free variables than its code takes.
forged_funs() ->
    %% Not known to the compiler.
    Values = binary_to_term(term_to_binary(lists:seq(1, 6))),
    [A, B, C, D, E, F] = Values,
    Fun = fun() -> {F, E, D, C, B, A} end,
    Result = Fun(),
    [Index, Uniq, OldIndex, OldUniq] = [element(2, erlang:fun_info(Fun, Item)) || Item <- [new_index, new_uniq, index, uniq]],
    Forged = fun(Arity, Free) ->
        Body = iolist_to_binary([
            <<Arity, Uniq/binary, Index:32, (length(Free)):32>>,
            [external(Part) || Part <- [?MODULE, OldIndex, OldUniq, self() | Free]]
        ]),
        <<131, 112, (byte_size(Body) + 4):32, Body/binary>>
    end,
    {env, Free} = erlang:fun_info(Fun, env),
    Result = (binary_to_term(Forged(0, Free)))(),
    [
        begin
            Bad = binary_to_term(Forged(0, lists:seq(1, Count)), Options),
            try Bad() of
                Other -> io:format("~p free variables: ~p~n", [Count, Other])
            catch
                error:{badfun, Bad} -> ok
            end
        end
     || Count <- [0, 1, 5, 7, 200], Options <- [[], [safe]]
    ].

external(Term) ->
    <<131, External/binary>> = term_to_binary(Term),
    External.

%% Functions are {Name, Arity, Instructions}; the entry of the first is label 2, of the second 12, and so on.
assemble(Module, Functions) ->
    {Code, _} = lists:mapfoldl(
        fun({Name, Arity, Body}, Base) ->
            Head = [{label, Base + 1}, {func_info, {atom, Module}, {atom, Name}, Arity}, {label, Base + 2}],
            {{function, Name, Arity, Base + 2, Head ++ Body}, Base + 10}
        end,
        0,
        Functions
    ),
    Exports = [{Name, Arity} || {Name, Arity, _} <- Functions],
    Labels = 1 + lists:max([Label || {function, _, _, _, Body} <- Code, {label, Label} <- Body]),
    {ok, Binary} = beam_asm:module({Module, Exports, [], Code, Labels}, [], [], []),
    Binary.

%% Often enough for every engine.
repeat(Run) -> repeat(3000, Run).

repeat(Times, Run) -> lists:foreach(fun(_) -> Run() end, lists:seq(1, Times)).

%% The process does not end by itself, and others run meanwhile; it can be killed.
endless(Run) ->
    Processes = [spawn_monitor(Run) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    receive after 100 -> ok end,
    [exit(Pid, kill) || {Pid, _} <- Processes],
    [
        receive
            {'DOWN', Monitor, process, _, killed} -> ok;
            {'DOWN', Monitor, process, _, Other} -> exit({ended, Other})
        after 5000 -> exit(not_killed)
        end
     || {_, Monitor} <- Processes
    ].

own_messages(Count) ->
    lists:foreach(fun(Number) -> self() ! {message, Number, lists:seq(1, Number)} end, lists:seq(1, Count)).

flush() ->
    receive _ -> flush() after 0 -> ok end.

cases() ->
    [
        %% ---- Catches ----
        {try_case_without_exception, [{f, 1, [
            {test, is_binary, {f, 3}, [{x, 0}]},
            {allocate, 1, 1},
            {'try', {y, 0}, {f, 3}},
            {call_ext, 1, {extfunc, erlang, hd, 1}},
            {try_end, {y, 0}},
            {deallocate, 1},
            return,
            {label, 3},
            {try_case, {y, 0}},
            {move, {x, 1}, {x, 0}},
            {deallocate, 1},
            return]}],
         {runs, fun(M) ->
             repeat(fun() ->
                 badarg = M:f(<<1>>),
                 {'EXIT', {badarg, _}} = catch M:f(atom)
             end)
         end}},
        {catch_end_without_catch, [{f, 1, [
            {allocate, 1, 1},
            {move, {x, 0}, {y, 0}},
            {catch_end, {y, 0}},
            {deallocate, 1},
            return]}],
         {refused, "Y0 does not hold the tag of such a catch"}},
        {function_ends_in_error, [{f, 1, [{call_ext, 1, {extfunc, erlang, error, 1}}]}],
         {runs, fun(M) -> repeat(fun() -> a = try M:f(a) catch error:Reason -> Reason end end) end}},
        {module_ends_in_call, [{f, 1, [
            {test_heap, 2, 1},
            {put_tuple2, {x, 0}, {list, [{x, 0}]}},
            {call_ext_only, 1, {extfunc, lists, flatten, 1}}]}],
         {runs, fun(M) -> repeat(fun() -> {'EXIT', {function_clause, _}} = catch M:f(a) end) end}},
        {unreachable_code, [{f, 1, [
            {call_ext_only, 1, {extfunc, erlang, error, 1}},
            {move, {y, 100}, {x, 900}},
            {label, 3},
            {deallocate, 7},
            {jump, {f, 3}}]}],
         {runs, fun(M) -> repeat(fun() -> a = try M:f(a) catch error:Reason -> Reason end end) end}},

        %% ---- Receive ----
        {message_without_receive, [{f, 0, [remove_message, {move, nil, {x, 0}}, return]}],
         {refused, "no message has been looked at"}},
        {message_taken_twice, [{f, 0, [
            {label, 3},
            {loop_rec, {f, 4}, {x, 0}},
            remove_message,
            remove_message,
            return,
            {label, 4},
            {wait, {f, 3}}]}],
         {refused, "no message has been looked at"}},
        {message_taken_by_another, [
            {f, 0, [
                {allocate, 0, 0},
                {label, 3},
                {loop_rec, {f, 4}, {x, 0}},
                {call, 0, {f, 12}},
                remove_message,
                {deallocate, 0},
                return,
                {label, 4},
                {wait, {f, 3}}]},
            {g, 0, [
                {label, 13},
                {loop_rec, {f, 14}, {x, 0}},
                remove_message,
                return,
                {label, 14},
                {wait, {f, 13}}]}],
         {runs, fun(M) ->
             repeat(fun() ->
                 own_messages(1),
                 {'EXIT', {badarg, _}} = catch M:f()
             end)
         end}},
        %% What skips a message need not look at another.
        {receive_goes_elsewhere, [{f, 0, [
            {allocate, 1, 0},
            {init_yregs, {list, [{y, 0}]}},
            {label, 3},
            {loop_rec, {f, 5}, {x, 0}},
            {loop_rec_end, {f, 4}},
            {label, 5},
            {wait, {f, 3}},
            {label, 4},
            {move, {atom, ok}, {x, 0}},
            {deallocate, 1},
            return]}],
         {runs, fun(M) ->
             repeat(fun() -> self() ! message, ok = M:f(), flush() end)
         end}},
        %% A skipped message stays valid where it is kept.
        {skipped_message_in_frame, [{f, 0, [
            {allocate, 2, 0},
            {init_yregs, {list, [{y, 0}, {y, 1}]}},
            {label, 3},
            {loop_rec, {f, 5}, {x, 0}},
            {move, {x, 0}, {y, 0}},
            {loop_rec_end, {f, 4}},
            {label, 5},
            {wait, {f, 3}},
            {label, 4},
            {loop_rec, {f, 5}, {x, 0}},
            {move, {x, 0}, {y, 1}},
            {call_ext, 0, {extfunc, erlang, garbage_collect, 0}},
            {call_ext, 0, {extfunc, erlang, garbage_collect, 0}},
            timeout,
            {test_heap, 3, 0},
            {put_tuple2, {x, 0}, {list, [{y, 0}, {y, 1}]}},
            {deallocate, 2},
            return]}],
         {runs, fun(M) ->
             repeat(200, fun() ->
                 own_messages(2),
                 {{message, 1, [1]} = First, {message, 2, [1, 2]} = Second} = M:f(),
                 First = receive One -> One end,
                 garbage_collect(),
                 Second = receive Two -> Two end
             end)
         end}},
        %% Two moves that would be one instruction, of which the second only needs the message.
        {skipped_message_in_pair, [{f, 0, [
            {allocate, 2, 0},
            {init_yregs, {list, [{y, 0}, {y, 1}]}},
            {label, 3},
            {loop_rec, {f, 5}, {x, 0}},
            {move, {integer, 1}, {x, 1}},
            {move, {x, 1}, {y, 1}},
            {move, {x, 0}, {y, 0}},
            {loop_rec_end, {f, 4}},
            {label, 5},
            {wait, {f, 3}},
            {label, 4},
            timeout,
            {call_ext, 0, {extfunc, erlang, garbage_collect, 0}},
            {call_ext, 0, {extfunc, erlang, garbage_collect, 0}},
            {move, {y, 0}, {x, 0}},
            {deallocate, 2},
            return]}],
         {runs, fun(M) ->
             repeat(200, fun() ->
                 own_messages(1),
                 {message, 1, [1]} = First = M:f(),
                 First = receive One -> One end
             end)
         end}},
        {message_returned_unreceived, [{f, 0, [
            {label, 3},
            {loop_rec, {f, 5}, {x, 0}},
            return,
            {label, 5},
            {wait, {f, 3}}]}],
         {runs, fun(M) ->
             repeat(200, fun() ->
                 own_messages(1),
                 Kept = M:f(),
                 garbage_collect(),
                 Kept = receive Message -> Message end,
                 garbage_collect(),
                 {message, 1, [1]} = Kept
             end)
         end}},
        {message_in_exception, [{f, 0, [
            {label, 3},
            {loop_rec, {f, 5}, {x, 0}},
            {badmatch, {x, 0}},
            {label, 5},
            {wait, {f, 3}}]}],
         {runs, fun(M) ->
             repeat(200, fun() ->
                 own_messages(1),
                 {'EXIT', {{badmatch, Kept}, _}} = catch M:f(),
                 garbage_collect(),
                 Kept = receive Message -> Message end
             end)
         end}},

        %% ---- Terms that are none ----
        {context_returned, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
            return]}],
         {refused, "X0 may hold a match context"}},
        {context_in_tuple, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
            {test_heap, 2, 1},
            {put_tuple2, {x, 0}, {list, [{x, 0}]}},
            return]}],
         {refused, "X0 may hold a match context"}},
        {context_to_built_in, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
            {allocate, 0, 1},
            {call_ext, 1, {extfunc, erlang, phash2, 1}},
            {deallocate, 0},
            return]}],
         {refused, "X0 may hold a match context"}},
        {context_moved_away, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 1}},
            {move, {x, 1}, {x, 2}},
            {swap, {x, 0}, {x, 2}},
            return]}],
         {refused, "X0 may hold a match context"}},
        {context_for_a_term, [
            {f, 1, [
                {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
                {call_only, 1, {f, 12}}]},
            {g, 1, [return]}],
         {refused, "g/1, byte"}},
        {context_for_a_term_further_on, [
            {f, 1, [
                {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
                {call_only, 1, {f, 12}}]},
            {g, 1, [{call_only, 1, {f, 22}}]},
            {h, 1, [return]}],
         {refused, "h/1, byte"}},
        {context_for_a_context, [
            {f, 1, [
                {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 0}},
                {call_only, 1, {f, 12}}]},
            {g, 1, [
                {test, bs_start_match3, {f, 11}, 1, [{x, 0}], {x, 0}},
                {test, bs_get_integer2, {f, 13}, 1, [{x, 0}, {integer, 8}, 1, {field_flags, []}], {x, 0}},
                return,
                {label, 13},
                {bs_get_tail, {x, 0}, {x, 0}, 1},
                return]}],
         {runs, fun(M) -> repeat(fun() -> 7 = M:f(<<7>>), <<>> = M:f(<<>>) end) end}},
        {cyclic_tuple, [{f, 0, [
            {allocate, 0, 0},
            {move, {integer, 1}, {x, 0}},
            {move, {literal, {a, b}}, {x, 1}},
            {move, {integer, 3}, {x, 2}},
            {call_ext, 3, {extfunc, erlang, setelement, 3}},
            {move, {x, 0}, {x, 1}},
            {set_tuple_element, {x, 1}, {x, 0}, 0},
            {deallocate, 0},
            return]}],
         {refused, "the value may be the tuple itself"}},

        %% Keys are read before anything is written.
        {keys_and_destinations, [{f, 3, [
            {test, is_map, {f, 1}, [{x, 0}]},
            {get_map_elements, {f, 3}, {x, 0}, {list, [{x, 1}, {x, 2}, {x, 2}, {x, 0}]}},
            {label, 3},
            {test_heap, 3, 3},
            {put_tuple2, {x, 0}, {list, [{x, 0}, {x, 2}]}},
            return]}],
         {runs, fun(M) ->
             repeat(fun() ->
                 {b, a} = M:f(#{1 => a, 2 => b}, 1, 2),
                 {#{1 := a}, 2} = M:f(#{1 => a}, 1, 2)
             end)
         end}},

        %% More keys than fit the machine's own room: the last key is read before the first destination is written.
        {many_keys_and_destinations, [{f, 1, [
            {test, is_map, {f, 1}, [{x, 0}]},
            {move, {integer, 100}, {x, 1}},
            {get_map_elements, {f, 1}, {x, 0},
             {list, lists:append([[{integer, N}, {x, N}] || N <- lists:seq(1, 99)]) ++ [{x, 1}, {x, 0}]}},
            {test_heap, 3, 2},
            {put_tuple2, {x, 0}, {list, [{x, 0}, {x, 1}]}},
            return]}],
         {runs, fun(M) ->
             repeat(fun() -> {-100, -1} = M:f(maps:from_list([{N, -N} || N <- lists:seq(1, 100)])) end)
         end}},

        %% As the compiler of OTP 22 may write it: another instruction in the midst of a construction.
        {interrupted_construction, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 1}},
            {bs_get_position, {x, 1}, {x, 2}, 2},
            {bs_init2, {f, 0}, 2, 0, 3, {field_flags, []}, {x, 3}},
            {bs_put_integer, {f, 0}, {integer, 8}, 1, {field_flags, []}, {integer, 1}},
            {bs_set_position, {x, 1}, {x, 2}},
            {bs_get_tail, {x, 1}, {x, 0}, 4},
            {bs_put_integer, {f, 0}, {integer, 8}, 1, {field_flags, []}, {integer, 2}},
            {test_heap, 3, 4},
            {put_tuple2, {x, 0}, {list, [{x, 0}, {x, 3}]}},
            return]}],
         {runs, fun(M) -> repeat(fun() -> {<<"ab">>, <<1, 2>>} = M:f(<<"ab">>) end) end}},
        {construction_of_nothing, [{f, 1, [
            {test, bs_start_match3, {f, 1}, 1, [{x, 0}], {x, 1}},
            {bs_get_tail, {x, 1}, {x, 0}, 2},
            {bs_put_integer, {f, 0}, {integer, 8}, 1, {field_flags, []}, {integer, 2}},
            return]}],
         {refused, "no binary is under construction"}},

        %% ---- Built-ins ----
        {instruction_yields, [{f, 0, [{bif, yield, {f, 0}, [], {x, 0}}, return]}],
         {refused, "erlang:yield/0 is not a guard built-in"}},
        {instruction_traps, [{f, 0, [{bif, garbage_collect, {f, 0}, [], {x, 0}}, return]}],
         {refused, "erlang:garbage_collect/0 is not a guard built-in"}},
        {instruction_sends, [{f, 2, [{bif, '!', {f, 0}, [{x, 0}, {x, 1}], {x, 0}}, return]}],
         {refused, "erlang:!/2 is not a guard built-in"}},

        %% ---- Loops without calls ----
        {endless_jump, [{f, 0, [{label, 3}, {jump, {f, 3}}]}],
         {runs, fun(M) -> endless(fun() -> M:f() end) end}},
        {endless_reads, [{f, 1, [
            {move, {integer, 0}, {x, 3}},
            {label, 3},
            {bif, element, {f, 4}, [{integer, 1}, {x, 0}], {x, 2}},
            {label, 4},
            {test, is_eq_exact, {f, 3}, [{x, 3}, {x, 0}]},
            return]}],
         {runs, fun(M) ->
             endless(fun() -> M:f({lists:seq(1, 100)}) end),
             0 = M:f(0)
         end}},
        {loop_that_ends, [{f, 2, [
            {label, 3},
            {test, is_nonempty_list, {f, 4}, [{x, 0}]},
            {get_list, {x, 0}, {x, 2}, {x, 0}},
            {test_heap, 2, 3},
            {put_list, {x, 2}, {x, 1}, {x, 1}},
            {jump, {f, 3}},
            {label, 4},
            {move, {x, 1}, {x, 0}},
            return]}],
         {runs, fun(M) ->
             List = lists:seq(1, 100000),
             Reversed = lists:reverse(List),
             lists:foreach(fun(_) -> Reversed = M:f(List, []) end, lists:seq(1, 50))
         end}},
        {endless_exceptions, [{f, 0, [
            {allocate, 1, 0},
            {init_yregs, {list, [{y, 0}]}},
            {jump, {f, 4}},
            {label, 3},
            {try_case, {y, 0}},
            {label, 4},
            {'try', {y, 0}, {f, 3}},
            if_end]}],
         {runs, fun(M) -> endless(fun() -> M:f() end) end}},
        {endless_messages, [{f, 0, [
            {label, 3},
            {loop_rec, {f, 4}, {x, 0}},
            {loop_rec_end, {f, 5}},
            {label, 4},
            {wait, {f, 3}},
            {label, 5},
            timeout,
            {jump, {f, 3}}]}],
         {runs, fun(M) -> endless(fun() -> own_messages(3), M:f() end) end}}
    ].
