%% Every built-in with arguments that are wrong in all ways: the class, the reason, the cause, and the explanation
%% that the shell prints. What has an effect on the machine is left out.
-module(explanations).
-export([main/0, main/1]).

main() ->
    logger:set_primary_config(level, none),
    [main(M)
     || M
            <- [erlang,
                persistent_term,
                atomics,
                counters,
                maps,
                lists,
                binary,
                math,
                re,
                unicode,
                ets,
                os]].

skip() ->
    [{halt, '_'},
     {exit, 1},
     {exit, 2},
     {hibernate, 3},
     {yield, 0},
     {disconnect_node, 1},
     {monitor_node, 2},
     {monitor_node, 3},
     {set_cookie, '_'},
     {cmd, '_'},
     {set_signal, 2},
     {putenv, 2},
     {unsetenv, 1},
     {getpid, 0},
     {i, '_'},
     {fun2ms, 1},
     {test_ms, 2},
     {tab2file, '_'},
     {file2tab, '_'},
     {tabfile_info, 1},
     {repair_continuation, 2},
     {setnode, 2},
     {get_cookie, '_'},
     {setnode, '_'},
     {system_flag, 2},
     {system_monitor, '_'},
     {system_profile, '_'},
     {processes, 0},
     {ports, 0},
     {garbage_collect, '_'},
     {memory, '_'},
     {load_module, 2},
     {load_nif, 2},
     {delete_module, 1},
     {purge_module, 1},
     {display, 1},
     {display_string, 1},
     {display_nl, 0},
     {process_display, 2},
     {group_leader, 2},
     {register, 2},
     {unregister, 1},
     {module_info, '_'},
     {nif_error, '_'},
     {error, '_'},
     {throw, 1},
     {raise, 3},
     {apply, '_'},
     {spawn, '_'},
     {spawn_link, '_'},
     {bump_reductions, 1},
     {trace, 3},
     {trace_pattern, '_'},
     {trace_info, 2},
     {trace_delivered, 1},
     {check_process_code, '_'},
     {nodes, '_'},
     {now, 0},
     {localtime, 0},
     {date, 0},
     {time, 0},
     {port_close, 1},
     {open_port, 2},
     {statistics, 1},
     {system_info, 1},
     {dist_ctrl_get_data, '_'},
     {dist_ctrl_put_data, '_'},
     {dist_ctrl_get_opt, '_'},
     {dist_ctrl_set_opt, '_'},
     {dist_get_stat, '_'},
     {dist_ctrl_input_handler, '_'},
     {dist_ctrl_get_data_notification, '_'},
     {dt_get_tag, '_'},
     {dt_put_tag, '_'},
     {dt_get_tag_data, '_'},
     {dt_prepend_vm_tag_data, '_'},
     {dt_append_vm_tag_data, '_'},
     {dt_spread_tag, '_'},
     {dt_restore_tag, '_'},
     {crasher, '_'},
     {alloc_info, '_'},
     {alloc_sizes, '_'},
     {gather_gc_info_result, 1},
     {await_proc_exit, '_'},
     {exit_signal, '_'},
     {dmonitor_node, 3},
     {dgroup_leader, 2},
     {dexit, 2},
     {dlink, 1},
     {dunlink, 1},
     {send_nosuspend, '_'},
     {dsend, '_'},
     {get_stacktrace, 0},
     {finish_after_on_load, 2},
     {call_on_load_function, 1},
     {prepare_loading, 2},
     {finish_loading, 1},
     {resume_process, 1},
     {suspend_process, '_'},
     {fun_info_mfa, 1},
     {seq_trace, 2},
     {seq_trace_info, 1},
     {seq_trace_print, '_'},
     {make_fun, 3},
     {self, 0},
     {delay_trap, 2},
     {format_cpu_topology, 1},
     {set_cpu_topology, 1},
     {get_module_info, '_'},
     {delete_element, 2}].

main(M) ->
    process_flag(trap_exit, true),
    code:ensure_loaded(M),
    Ex = lists:sort(M:module_info(exports)),
    Fs = [{F, A}
          || {F, A} <- Ex, A > 0,
             not
                 lists:any(fun ({F1, A1}) -> F1 =:= F andalso (A1 =:= '_' orelse A1 =:= A) end,
                           skip())],
    Dead = spawn(fun () -> ok end),
    timer:sleep(20),
    Pool = list_to_tuple([foo,
                          self(),
                          1,
                          -1,
                          0,
                          1 bsl 70,
                          1.5,
                          "abc",
                          [],
                          {},
                          {a, 1},
                          <<"bin">>,
                          <<1:3>>,
                          #{},
                          #{a => 1},
                          make_ref(),
                          fun () -> ok end,
                          fun (_) -> ok end,
                          fun lists:map/2,
                          [a | b],
                          Dead,
                          init,
                          true,
                          utf8,
                          [foo],
                          [{foo, 1}],
                          second,
                          nonode@nohost,
                          a@b,
                          {init, a@b},
                          {init, node()},
                          {noname, node()},
                          process,
                          port,
                          undefined,
                          noname,
                          [link],
                          [monitor],
                          5,
                          "12",
                          <<"12">>,
                          "ff",
                          infinity,
                          normal,
                          [{async, true}],
                          binary_data]),
    [begin
         rand:seed(exsss, {1, 2, erlang:phash2({M, FA})}),
         [one(M, F, [element(rand:uniform(size(Pool)), Pool) || _ <- lists:seq(1, A)])
          || _ <- lists:seq(1, 8 + 4 * A)]
     end
     || {F, A} = FA <- Fs].

one(M, F, A) ->
    S = self(),
    {P, Mo} = spawn_monitor(fun () ->
                                    S !
                                        {self(),
                                         try apply(M, F, A) of
                                             _ -> ok
                                         catch
                                             C:R:St -> {C, R, expl(R, St)}
                                         end}
                            end),
    Res = receive
              {P, X} -> X;
              {'DOWN', Mo, _, _, Why} -> {died, Why}
              after 500 -> exit(P, kill), timeout
          end,
    demonitor(Mo, [flush]),
    flush(),
    case Res of
        ok -> io:format("~0p ok~n", [{F, A}]);
        _ -> io:format("~0P ~0P~n", [{F, A}, 30, Res, 60])
    end.

flush() -> receive _ -> flush() after 0 -> ok end.

expl(R, [{M, F, A, I} | _] = St) ->
    case lists:keyfind(error_info, 1, I) of
        {_, #{module := Mo} = Inf} ->
            {M,
             F,
             ar(A),
             maps:get(cause, Inf, none),
             try Mo:(maps:get(function, Inf, format_error))(R, St) catch _:X -> {bad, X} end};
        false -> {M, F, ar(A)}
    end.

ar(L) when is_list(L) -> length(L);
ar(X) -> X.