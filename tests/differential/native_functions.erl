%% What system_info(snifs) lists and is_builtin/3 says: no function that OTP has in Erlang.
-module(native_functions).
-export([main/0]).

main() ->
    Listed = erlang:system_info(snifs),
    Asked = [{erlang, min, 2}, {erlang, max, 2}, {erlang, yield, 0}, {erlang, alias, 0}, {erlang, alias, 1}, {erlang, garbage_collect, 0},
        {erlang, hibernate, 0}, {erlang, hibernate, 3}, {persistent_term, put_new, 2}, {lists, reverse, 2}, {re, run, 3}],
    io:format("~p~n", [[MFA || MFA <- Asked, lists:member(MFA, Listed)]]),
    io:format("~p~n", [[MFA || {M, F, A} = MFA <- [{erlang, apply, 3}, {erlang, apply, 4} | Asked], erlang:is_builtin(M, F, A)]]),
    Known = ordsets:from_list(Listed ++ [{erlang, apply, 2}, {erlang, apply, 3}, {erlang, yield, 0}]),
    Exported = [{erlang, F, A} || {F, A} <- erlang:module_info(exports)],
    io:format("~p~n", [[MFA || {M, F, A} = MFA <- Exported, erlang:is_builtin(M, F, A) =/= ordsets:is_element(MFA, Known)]]),
    io:format("~p~n", [erlang:function_exported(persistent_term, put_new, 2)]).
