%% What is printed when processes crash: the emulator's report, and proc_lib's.
-module(crashes).
-export([main/0, init/1, handle_call/3, handle_cast/2, crash/1]).

main() ->
    ok = logger:update_formatter_config(default, #{single_line => false, template => [msg, "\n"]}),
    ok = logger:update_handler_config(default, #{filters => []}),
    one(fun() -> error(an_error) end),
    one(fun() -> throw(thrown) end),
    one(fun() -> exit(silent) end),
    one(fun() -> lists:map(not_a_fun, [1]) end),
    one(fun() -> ?MODULE:crash({a, "tuple", <<"binary">>}) end),
    one(fun() -> {applied, by_name(erlang, error, [an_error, [1, 2]])} end),
    io:format("~p~n", [catch gen_server:start(?MODULE, fail, [])]),
    {ok, Pid} = gen_server:start(?MODULE, ok, []),
    io:format("~p~n", [catch gen_server:call(Pid, stop)]),
    io:format("~p~n", [catch gen_server:call(nobody, hello)]).

one(Fun) ->
    {_, Ref} = spawn_monitor(Fun),
    receive {'DOWN', Ref, process, _, Reason} -> io:format("~p~n", [Reason]) end.

by_name(Module, Function, Arguments) -> {applied, apply(Module, Function, Arguments)}.

crash(X) when is_atom(X) -> X.

init(ok) -> {ok, state};
init(fail) -> {stop, told_to}.
handle_call(stop, _, State) -> {stop, {shutdown, asked}, ok, State}.
handle_cast(_, State) -> {noreply, State}.
