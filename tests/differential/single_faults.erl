%% One line for each of many small things that once were wrong.
-module(single_faults).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    [io:format("~p: ~P~n", [N, outcome(F), 30]) || {N, F} <- numbered(1, cases())],
    ok.

numbered(N, [F | Rest]) -> [{N, F} | numbered(N + 1, Rest)];
numbered(_, []) -> [].

outcome(F) ->
    try F() of
        Result -> Result
    catch
        Class:Reason:Stack ->
            case Stack of
                [{M, Fn, Args, _} | _] when is_list(Args) -> {Class, Reason, {M, Fn, Args}};
                _ -> {Class, Reason}
            end
    end.

id(X) -> X.

cases() ->
    Is = fun(T, Name, N) -> fun() -> {is_record(id(T), id(Name), id(N)), apply(erlang, is_record, [T, Name, N])} end end,
    [fun() ->
             %% What is put keeps what it shares within itself.
             Shared = lists:foldl(fun(_, Acc) -> [Acc | Acc] end, [], lists:seq(1, 10)),
             persistent_term:put(?MODULE, {Shared, Shared}),
             erts_debug:size(persistent_term:get(?MODULE))
     end,
     Is({a, 1}, a, -1), Is({a}, a, 0), Is({a}, a, 1), Is(a, a, -1), Is({a}, a, 1 bsl 70), Is({a}, a, -(1 bsl 70)),
     Is({a}, 1, 1),
     fun() -> [case T of {_} when is_record(T, a, 1) -> yes; _ -> no end || T <- [{a}]] end,
     fun() -> garbage_collect(a, [{type, x}]) end,
     fun() -> garbage_collect(self(), [{type, minor}]) end,
     fun() -> erlang:universaltime_to_posixtime({{0, 1, 1}, {0, 0, 0}}) end,
     fun() -> erlang:universaltime_to_posixtime({{1970, 1, 1}, {0, 0, 1}}) end,
     fun() -> erlang:system_flag(scheduler_bind_type, foo) end,
     fun() -> erlang:system_flag(foo, 1) end,
     fun() -> process_flag(foo, 1) end,
     fun() -> apply(erlang, apply, [0, 0]) end,
     fun() -> erlang:is_builtin(erlang, abs, -1) end,
     fun() -> erlang:is_builtin(erlang, abs, 1) end,
     fun() -> erlang:is_builtin(erlang, abs, a) end,
     fun() -> ets:update_element(ets:new(t, []), nokey, foo) end,
     fun() -> ets:update_counter(ets:new(single_faults, [bag, named_table]), k, 1, {k, 1}) end,
     fun() -> apply(id(fun() -> ok end), id(x)) end,
     fun() -> <<(id(x)):9, 1:(id(a))>> end,
     fun() -> apply(erlang, abs, lists:duplicate(300, 1)) end,
     fun() -> erlang:send_after(9223372036854, x, x) end,
     fun() -> erlang:start_timer(0, x, x, [{abs, true}, foo]) end,
     fun() -> os:putenv("", "x") end,
     fun() -> open_port(foo, []) end,
     fun() -> open_port({spawn, "echo"}, [{args, []}]) end,
     fun() -> open_port({spawn, "echo"}, [{env, [{"A=B", "x"}]}]) end,
     fun() -> unicode:characters_to_binary([<<"ab">>, <<"c", 246, "d">>]) end,
     fun() -> unicode:characters_to_list([<<241, 137>>, <<"a">>]) end,
     fun() -> unicode:characters_to_binary([<<241, 137>>, <<"a">>, <<"b">>]) end,
     fun() -> {A, B} = {alias(), id(1)}, binary_to_term(term_to_binary(A)) ! hello, receive hello -> B after 100 -> lost end end,
     fun() -> C = counters:new(1, []), counters:get(binary_to_term(term_to_binary(C)), 1) end,
     fun() -> R = make_ref(), list_to_ref(ref_to_list(R)) =:= R end,
     fun() -> erlang:raise(error, foo, [{shell, f, 1}]) end,
     fun() -> calendar:universal_time_to_local_time({{1850, 1, 1}, {0, 0, 0}}) end,
     fun() -> erts_debug:flat_size({[1, 2], "abc", #{a => 1}}) end,
     fun() -> element(1, process_info(self(), last_calls)) end,
     fun() -> spawn_link('a@b', erlang, self, []), receive after 50 -> ok end end,
     fun() -> rpc:call('a@b', erlang, self, []) end,
     fun() -> erlang:send({x, 'a@b'}, y, [noconnect]) end,
     fun() -> erlang:monitor_node('a@b', true) end,
     fun() -> monitor(process, {x, 'a@b'}), receive {'DOWN', _, _, O, R} -> {O, R} after 100 -> none end end,
     fun() -> 1 bsl (1 bsl 40) end,
     fun() -> hibernate_limit(5000) end,
     fun() -> erlang:system_info({foo, bar}) end,
     fun() -> binary_to_term(<<131, 112, 0, 0, 0, 1>>, [safe]) end,
     fun() -> re:compile("\\g{5}") end,
     fun() ->
             Size = fun(O) -> try erlang:external_size({ok, lists:duplicate(50, $A)}, O) catch _:R -> R end end,
             [Size(O) || O <- [[compressed], [{compressed, 3}], [local], [deterministic], [{minor_version, 2}],
                               [{minor_version, 3}], [{minor_version, 0}], [foo], [], foo]]
     end,
     fun() -> erlang:halt(1, [{flush, foo}]) end,
     fun() -> erlang:halt(1, [foo]) end].

hibernate_limit(N) ->
    {P, M} = spawn_monitor(fun() -> exit(catch erlang:hibernate(x, y, lists:duplicate(N, a))) end),
    receive {'DOWN', M, _, P, {'EXIT', {Reason, _}}} -> Reason after 1000 -> none end.
