%% How a process is traced is changed and asked for while it is in a function on a dirty scheduler.
-module(traced_dirty).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    erts_debug:set_internal_state(available_internal_state, true),
    Self = self(),
    [begin
        {Pid, Monitor} = spawn_monitor(fun() ->
            Self ! {self(), begins},
            erts_debug:Function(wait, 1000),
            Self ! {ends, Function}
        end),
        receive {Pid, begins} -> ok end,
        timer:sleep(200),
        Changed = erlang:trace(Pid, true, [send]),
        Flags = erlang:trace_info(Pid, flags),
        NoFlags = begin erlang:trace(Pid, false, [send]), erlang:trace_info(Pid, flags) end,
        1 = erlang:trace(Pid, true, [send]),
        Early = receive {ends, Function} -> late after 0 -> early end,
        Sent = receive {trace, Pid, send, What, Self} -> What end,
        receive {'DOWN', Monitor, _, _, Reason} -> ok end,
        io:format("~p: ~p~n", [Function, {Changed, Flags, NoFlags, Early, Sent, Reason}])
    end || Function <- [dirty_io, dirty_cpu]].
