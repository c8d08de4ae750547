%% What is addressed to another node, on a node that is not alive.
-module(other_nodes).
-export([main/0]).

r(M, F, A) ->
    try apply(M, F, A) of
        P when is_pid(P) -> {pid, m()};
        R when is_reference(R) -> {ref, m()};
        {P, R} when is_pid(P) -> {pidref, m()};
        V -> {V, m()}
    catch
        C:R:St ->
            [{M1, F1, Ar, I} | _] = St,
            {C,
             R,
             {M1,
              F1,
              case Ar of
                  L when is_list(L) -> length(L);
                  _ -> Ar
              end},
             ex(R, St, I),
             m()}
    end.

m() ->
    receive
        X ->
            [case X of
                 T when is_tuple(T) ->
                     list_to_tuple([if is_reference(E) -> ref;
                                       is_pid(E) -> pid;
                                       true -> E
                                    end
                                    || E <- tuple_to_list(T)]);
                 _ -> X
             end
             | m()]
        after 60 -> []
    end.

ex(R, St, I) ->
    case lists:keyfind(error_info, 1, I) of
        {_, #{module := Mo} = Inf} ->
            {maps:get(cause, Inf, none),
             try Mo:(maps:get(function, Inf, format_error))(R, St) catch _:X -> {bad, X} end};
        false -> none
    end.

main() ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    RP = binary_to_term(<<131, 88, 100, 0, 3, "a@b", 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1>>),
    RR = binary_to_term(<<131, 90, 0, 3, 100, 0, 3, "a@b", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0,
                          0, 3>>),
    Port = binary_to_term(<<131, 89, 100, 0, 3, "a@b", 0, 0, 0, 5, 0, 0, 0, 1>>),
    N = a@b,
    [io:format("~0p: ~0p~n", [{F, A}, r(M, F, A)])
     || {M, F, A}
            <- [{erlang, spawn, [N, lists, seq, [1, 2]]},
                {erlang, spawn_link, [N, lists, seq, [1, 2]]},
                {erlang, spawn_monitor, [N, lists, seq, [1, 2]]},
                {erlang, spawn_opt, [N, lists, seq, [1, 2], [link]]},
                {erlang, spawn_opt, [N, lists, seq, [1, 2], [monitor]]},
                {erlang, spawn_opt, [N, lists, seq, [1, 2], [{monitor, []}]]},
                {erlang, spawn_opt, [N, lists, seq, [1, 2], [foo]]},
                {erlang, spawn_opt, [N, lists, seq, [1, 2], [{priority, high}]]},
                {erlang, spawn, [N, fun () -> ok end]},
                {erlang, spawn_link, [N, fun () -> ok end]},
                {erlang, spawn_monitor, [N, fun () -> ok end]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], []]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [{reply, no}]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [{reply_tag, tag}]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [{reply, foo}]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [foo]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [monitor]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], x]},
                {erlang, spawn_request, [N, lists, seq, [1, 2]]},
                {erlang, spawn_request, [N, fun () -> ok end]},
                {erlang, spawn_request, [N, lists, seq, x, []]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [{monitor, [foo]}]]},
                {erlang, spawn_request, [N, lists, seq, [1, 2], [{reply, success_only}]]},
                {rpc, call, [N, lists, seq, [1, 2]]},
                {rpc, cast, [N, lists, seq, [1, 2]]},
                {erpc, call, [N, lists, seq, [1, 2]]},
                {rpc, multicall, [[N], lists, seq, [1, 2]]},
                {erlang, send, [{x, N}, y]},
                {erlang, send, [{x, N}, y, [noconnect]]},
                {erlang, send, [{x, N}, y, [nosuspend]]},
                {erlang, send, [RP, y]},
                {erlang, send, [RP, y, [noconnect]]},
                {erlang, send, [RR, y]},
                {erlang, send, [RR, y, [noconnect]]},
                {erlang, send, [{x, N}, y, [noconnect, nosuspend]]},
                {erlang, send_nosuspend, [{x, N}, y]},
                {erlang, send_nosuspend, [{x, N}, y, [noconnect]]},
                {erlang, send, [Port, y]},
                {erlang, monitor, [process, RP]},
                {erlang, monitor, [process, {x, N}]},
                {erlang, monitor, [port, Port]},
                {erlang, monitor, [port, {x, N}]},
                {erlang, monitor, [process, {x, node()}]},
                {erlang, demonitor, [RR]},
                {erlang, link, [RP]},
                {erlang, unlink, [RP]},
                {erlang, link, [Port]},
                {erlang, exit, [RP, x]},
                {erlang, exit, [Port, x]},
                {erlang, monitor_node, [N, true]},
                {erlang, monitor_node, [N, false]},
                {erlang, monitor_node, [N, true, [allow_passive_connect]]},
                {erlang, disconnect_node, [N]},
                {erlang, nodes, []},
                {net_kernel, connect_node, [N]},
                {net_adm, ping, [N]},
                {erlang, group_leader, [self(), RP]},
                {erlang, is_process_alive, [RP]},
                {erlang, process_info, [RP]},
                {erlang, process_info, [RP, status]},
                {erlang, suspend_process, [RP]},
                {erlang, resume_process, [RP]},
                {erlang, process_display, [RP, backtrace]},
                {erlang, garbage_collect, [RP]},
                {erlang, check_process_code, [RP, lists]},
                {erlang, trace, [RP, true, [send]]},
                {erlang, register, [foo, RP]},
                {erlang, process_flag, [RP, save_calls, 1]},
                {erlang, port_command, [Port, "x"]},
                {erlang, port_close, [Port]},
                {erlang, port_info, [Port]},
                {erlang, port_info, [Port, name]},
                {erlang, port_connect, [Port, self()]},
                {erlang, port_control, [Port, 1, ""]},
                {erlang, unalias, [RR]},
                {erlang, cancel_timer, [RR]},
                {erlang, read_timer, [RR]},
                {erlang, start_timer, [0, RP, x]},
                {erlang, send_after, [0, RP, x]},
                {erlang, node, [RP]},
                {erlang, node, [RR]},
                {erlang, node, [Port]},
                {gen_server, call, [{x, N}, y]},
                {gen_server, call, [RP, y]},
                {gen_server, cast, [{x, N}, y]},
                {gen_server, call, [nosuch, y]},
                {erlang, get_cookie, []},
                {erlang, get_cookie, [N]},
                {erlang, set_cookie, [abc]},
                {erlang, set_cookie, [N, abc]},
                {erlang, get_cookie, []},
                {erlang, is_alive, []},
                {net_kernel, get_net_ticktime, []},
                {global, whereis_name, [x]},
                {global, register_name, [x, self()]},
                {global, whereis_name, [x]},
                {global, unregister_name, [x]},
                {pg, start, [sc]},
                {pg, join, [sc, g, self()]},
                {pg, get_members, [sc, g]},
                {erlang, nodes, [connected]},
                {erpc, multicall, [[N, node()], erlang, self, []]},
                {erpc, send_request, [N, lists, seq, [1, 2]]},
                {rpc, async_call, [N, lists, seq, [1, 2]]},
                {auth, get_cookie, []}]].