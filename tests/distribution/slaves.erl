%% ct_slave: a node of the same emulator that is started by the name of its program, told things, and stopped.
-module(slaves).
-export([main/0]).
-compile(nowarn_deprecated_function).
-compile({nowarn_removed, ct_slave}).

main() ->
    [_, Text] = string:lexemes(atom_to_list(node()), "@"),
    {Host, Name} = {list_to_atom(Text), list_to_atom("slave_" ++ os:getpid())},
    Options = [{boot_timeout, 30}, {init_timeout, 30}, {startup_timeout, 30}, {monitor_master, true}, {kill_if_fail, true},
        {erl_flags, "-some flag"}, {env, [{"OF_SLAVE", "value"}]}, {startup_functions, [{application, set_env, [kernel, of_slave, yes]}]}],
    {ok, Node} = ct_slave:start(Host, Name, Options),
    io:format("~p~n", [nodes() =:= [Node]]),
    io:format("~p~n", [[rpc:call(Node, M, F, A) || {M, F, A} <- [{init, get_argument, [some]}, {os, getenv, ["OF_SLAVE"]}, {application, get_env, [kernel, of_slave]}]]]),
    %% SwarmRT's starts with another word than erl's.
    io:format("~p~n", [rpc:call(Node, erlang, system_info, [system_version]) =:= erlang:system_info(system_version)]),
    {error, Again, Node} = ct_slave:start(Host, Name, Options),
    monitor_node(Node, true),
    {ok, Node} = ct_slave:stop(Host, Name),
    receive {nodedown, Node} -> ok end,
    {error, Gone, Node} = ct_slave:stop(Host, Name),
    io:format("~p~n", [{Again, Gone, nodes()}]).
