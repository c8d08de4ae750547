%% What OTP's suites call of test_server, for the conformance runner.
-module(test_server).
-compile([nowarn_deprecated_catch, nowarn_deprecated_function, {nowarn_removed, slave}]).
-export([peer_name/2, start_peer/3, start_peer/5, is_release_available/1, find_release/1]).
-export([timetrap/1, timetrap_cancel/0, timetrap_cancel/1, timetrap_scale_factor/0, seconds/1, minutes/1, hours/1, sleep/1]).
-export([lookup_config/2, comment/1, format/1, format/2, format/3, fail/0, fail/1, break/1, do_times/2, do_times/4, m_out_of_n/3]).
-export([call_crash/3, call_crash/4, is_debug/0, is_native/1, os_type/0, is_cover/0, is_asan/0, is_valgrind/0, memory_checker/0, is_commercial/0, capture_start/0, capture_stop/0, capture_get/0, messages_get/0, timecall/3]).
-export([start_node/3, stop_node/1, adjusted_sleep/1, temp_name/1]).

timetrap(_) -> make_ref().
timetrap_cancel() -> ok.
timetrap_cancel(_) -> ok.
timetrap_scale_factor() -> 1.
seconds(N) -> N * 1000.
minutes(N) -> N * 60000.
hours(N) -> N * 3600000.
sleep(N) -> ct:sleep(N).
adjusted_sleep(N) -> ct:sleep(N).
lookup_config(Key, Config) ->
    case lists:keyfind(Key, 1, Config) of
        {Key, Value} -> Value;
        false -> undefined
    end.
comment(_) -> ok.
format(_) -> ok.
format(_, _) -> ok.
format(_, _, _) -> ok.
fail() -> fail(suite_failed).
fail(Reason) -> exit({test_case_failed, Reason}).
break(_) -> ok.
do_times(0, _) -> ok;
do_times(N, Fun) -> Fun(), do_times(N - 1, Fun).
do_times(0, _, _, _) -> ok;
do_times(N, M, F, A) -> apply(M, F, A), do_times(N - 1, M, F, A).
m_out_of_n(0, _, _) -> ok;
m_out_of_n(M, 0, _) -> exit({m_out_of_n_failed, {M, left_to_do}});
m_out_of_n(M, N, Fun) ->
    case catch Fun() of
        {'EXIT', _} -> m_out_of_n(M, N - 1, Fun);
        _ -> m_out_of_n(M - 1, N - 1, Fun)
    end.
call_crash(M, F, A) -> call_crash(infinity, M, F, A).
call_crash(_, M, F, A) ->
    {Pid, Ref} = spawn_monitor(M, F, A),
    receive
        {'DOWN', Ref, process, Pid, normal} -> exit(call_did_not_crash);
        {'DOWN', Ref, process, Pid, _} -> ok
    end.
is_debug() -> false.
is_native(_) -> false.
is_cover() -> false.
is_asan() -> false.
is_valgrind() -> false.
memory_checker() -> none.
is_commercial() -> false.
os_type() -> os:type().
capture_start() -> ok.
capture_stop() -> ok.
capture_get() -> [].
messages_get() -> receive M -> [M | messages_get()] after 0 -> [] end.
timecall(M, F, A) -> {T, V} = timer:tc(M, F, A), {T / 1000000, V}.

%% A node with its arguments in one text. A slave is connected, and ends with this node; a peer is not, and ends with the process that
%% started it or by stop_node/1.
start_node(_, _, _) when node() =:= nonode@nohost -> throw({skip, "no distribution"});
start_node(Full, Kind, Options) ->
    %% It may have a host, which is this one.
    Name = list_to_atom(hd(string:lexemes(lists:concat([Full]), "@"))),
    Given = proplists:get_value(args, Options, ""),
    Args = case string:find(Given, "-setcookie") of
        nomatch -> lists:concat(["-setcookie ", erlang:get_cookie(), " ", Given]);
        _ -> Given
    end,
    case {proplists:get_value(erl, Options, [this]), Kind} of
        {[this], slave} ->
            [_, Host] = string:lexemes(atom_to_list(node()), "@"),
            slave:start(list_to_atom(Host), Name, Args);
        {[this], peer} ->
            Program = {"/bin/sh", ["-c", "exec " ++ ct:get_progname() ++ " \"$@\" " ++ Args, "sh"]},
            Started = peer:start(#{name => Name, exec => Program, connection => standard_io, wait_boot => 60000, env => proplists:get_value(env, Options, [])}),
            case Started of
                {ok, Peer, Node} -> put({peer, Node}, Peer), {ok, Node};
                Failed -> Failed
            end;
        {_, _} ->
            throw({skip, "no other release"})
    end.

stop_node(Node) ->
    monitor_node(Node, true),
    case erase({peer, Node}) of
        undefined -> slave:stop(Node);
        Peer -> catch peer:stop(Peer)
    end,
    receive {nodedown, Node} -> true after 10000 -> false end.

temp_name(Stem) -> Stem ++ integer_to_list(erlang:unique_integer([positive])).

%% Nodes beside the suite's own, where that has a name.
peer_name(Module, Case) ->
    peer:random_name(lists:concat([Module, "-", Case])).

start_peer(Args, Module, Case) when is_list(Args) -> start_peer(#{args => Args}, Module, Case);
start_peer(#{name := _} = Options, Module, _) -> start_peer(Options, Module);
start_peer(Options, Module, Case) -> start_peer(Options#{name => peer_name(Module, Case)}, Module).

%% Other releases are not there.
start_peer(_, _, _, _, _) -> not_available.
is_release_available(_) -> false.
find_release(_) -> not_available.

start_peer(Options, Module) ->
    Args = maps:get(args, Options, []),
    Cookie = case lists:member("-setcookie", Args) of
        true -> [];
        false -> ["-setcookie", atom_to_list(erlang:get_cookie())]
    end,
    peer:start_link(program(Options#{args => Cookie ++ ["-pa", filename:dirname(code:which(Module))] ++ Args})).

%% Every second node is of the program that SWARMRT_OTHER_ERL names, where that is set.
program(Options) ->
    Count = persistent_term:get({?MODULE, peers}, 0),
    persistent_term:put({?MODULE, peers}, Count + 1),
    case os:getenv("SWARMRT_OTHER_ERL", "") of
        Other when Other =/= "", Count rem 2 =:= 0, not is_map_key(exec, Options) ->
            Options#{exec => {"/usr/bin/env", ["-u", "ERL_ROOTDIR", Other]}};
        _ -> Options
    end.
