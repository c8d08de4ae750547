%% What a process calls whose flag error_handler names a module, where code is missing.
-module(error_handlers).
-export([main/0, undefined_function/3, undefined_lambda/3]).

main() ->
    logger:set_primary_config(level, none),
    {ok, gone, Bin} = compile:forms([
        {attribute, 1, module, gone}, {attribute, 1, export, [{factory, 1}]},
        {function, 1, factory, 1, [{clause, 1, [{var, 1, 'A'}], [], [
            {'fun', 1, {clauses, [{clause, 1, [{var, 1, 'B'}], [], [{tuple, 1, [{var, 1, 'A'}, {var, 1, 'B'}]}]}]}}]}]}]),
    {module, gone} = erlang:load_module(gone, Bin),
    Fun = gone:factory(a),
    {a, b} = Fun(b),
    erlang:delete_module(gone),
    erlang:purge_module(gone),
    io:format("~p~n", [[in(Handler, Call) || Handler <- [error_handler, ?MODULE], Call <- [
        fun() -> Fun(b) end, fun() -> apply(Fun, [b]) end, fun() -> Fun() end, fun() -> nowhere:f(1) end, fun() -> apply(nowhere, g, [1, 2]) end]]]).

in(Handler, Call) ->
    Self = self(),
    {P, M} = spawn_monitor(fun() ->
        process_flag(error_handler, Handler),
        Result = try Call() catch Class:Reason:Trace -> {Class, shown(Reason), [{Module, F, args(A)} || {Module, F, A, _} <- lists:sublist(Trace, 1)]} end,
        process_flag(error_handler, error_handler),
        Self ! {self(), Result}
    end),
    receive
        {P, Result} -> Result;
        {'DOWN', M, process, P, Reason} -> {died, Reason}
    end.

shown({Reason, What}) when is_function(What) -> Reason;
shown({Reason, {What, Args}}) when is_function(What) -> {Reason, Args};
shown(Reason) -> Reason.

args(Args) when is_list(Args) -> length(Args);
args(Arity) -> Arity.

undefined_function(M, F, Args) -> {undefined_function, M, F, Args}.

undefined_lambda(M, Fun, Args) -> {undefined_lambda, M, is_function(Fun, 1), Args}.
