%% Versions of a module: loading, deleting, purging, in the orders in which they can be done, and who runs the old one.
-module(versions).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    One = compiled("-module(changing). -export([f/0, wait/0]). f() -> 1. wait() -> receive go -> f() end.\n"),
    Two = compiled("-module(changing). -export([f/0]). f() -> 2.\n"),
    Load = fun(Code) -> {code:load_binary(changing, "changing.erl", Code), changing:f()} end,
    p([Load(One), erlang:check_old_code(changing)]),
    Pid = spawn(fun() -> changing:wait() end),
    timer:sleep(20),
    p([Load(Two), erlang:check_old_code(changing), erlang:check_process_code(Pid, changing), erlang:check_process_code(self(), changing)]),
    p([code:soft_purge(changing), code:purge(changing), is_process_alive(Pid), code:purge(changing)]),
    p([reason(fun() -> erlang:purge_module(changing) end), code:delete(changing), code:delete(changing)]),
    p([erlang:check_old_code(changing), code:is_loaded(changing), reason(fun() -> changing:f() end)]),
    %% Only OTP's own process purges.
    p([reason(fun() -> erts_internal:purge_module(Module, Step) end) || Module <- [changing, lists], Step <- [prepare, complete, abort]]),
    %% Of a deleted module there is only an old version: a new one needs no purge.
    p([erlang:load_module(changing, One), changing:f(), erlang:check_old_code(changing), erlang:load_module(changing, Two)]),
    p([code:purge(changing), erlang:load_module(changing, Two), changing:f()]),
    p([code:load_binary(changing, "changing.erl", <<"no code">>), code:load_binary(other_name, "changing.erl", One)]),
    p([erlang:pre_loaded(), erlang:bump_reductions(0), reason(fun() -> erlang:halt(-1) end), reason(fun() -> erlang:nodes(none_such) end)]),
    p([reason(fun() -> monitor(process, {name, 'other@node'}) end), reason(fun() -> erlang:monitor_node('other@node', true) end)]).

p(Results) -> io:format("~p~n", [Results]).

reason(Fun) -> try Fun() catch _:Reason -> Reason end.

compiled(Text) ->
    {ok, changing, Code} = compile:forms(forms(Text, 1), []),
    Code.

forms(Text, Line) ->
    case erl_scan:tokens([], Text, Line) of
        {done, {ok, Tokens, Next}, Rest} -> {ok, Form} = erl_parse:parse_form(Tokens), [Form | forms(Rest, Next)];
        _ -> []
    end.
