%% What system_info(snifs) lists: no function that OTP has in Erlang.
-module(native_functions).
-export([main/0]).

main() ->
    Listed = erlang:system_info(snifs),
    Asked = [{erlang, min, 2}, {erlang, max, 2}, {erlang, yield, 0}, {erlang, alias, 0}, {erlang, alias, 1}, {erlang, garbage_collect, 0},
        {erlang, hibernate, 0}, {erlang, hibernate, 3}, {persistent_term, put_new, 2}, {lists, reverse, 2}, {re, run, 3}],
    io:format("~p~n", [[MFA || MFA <- Asked, lists:member(MFA, Listed)]]),
    io:format("~p~n", [erlang:function_exported(persistent_term, put_new, 2)]).
