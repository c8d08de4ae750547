%% gen_statem: a door with a code lock.
-module(statem).
-behaviour(gen_statem).
-export([main/0, init/1, callback_mode/0, locked/3, open/3]).

main() ->
    {ok, Door} = gen_statem:start_link(?MODULE, [1, 2, 3], []),
    io:format("~p~n", [gen_statem:call(Door, {push, 9})]),
    io:format("~p~n", [[gen_statem:call(Door, {push, Digit}) || Digit <- [1, 2, 3]]]),
    io:format("~p~n", [gen_statem:call(Door, state)]),
    timer:sleep(100),
    io:format("~p~n", [gen_statem:call(Door, state)]),
    gen_statem:stop(Door).

callback_mode() -> state_functions.
init(Code) -> {ok, locked, #{code => Code, left => Code}}.

locked({call, From}, {push, Digit}, #{code := Code, left := Left} = Data) ->
    case Left of
        [Digit] -> {next_state, open, Data#{left := Code}, [{reply, From, open}, {state_timeout, 50, lock}]};
        [Digit | Rest] -> {keep_state, Data#{left := Rest}, {reply, From, more}};
        _ -> {keep_state, Data#{left := Code}, {reply, From, wrong}}
    end;
locked({call, From}, state, _) -> {keep_state_and_data, {reply, From, locked}}.

open(state_timeout, lock, Data) -> {next_state, locked, Data};
open({call, From}, _, _) -> {keep_state_and_data, {reply, From, open}}.
