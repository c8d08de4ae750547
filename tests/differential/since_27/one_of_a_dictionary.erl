%% `process_info(Pid, {dictionary, Key})`, labels, and large maps and tables with both zeros as keys.
-module(one_of_a_dictionary).
-export([main/0]).

main() ->
    put(a, 1),
    Pid = spawn(fun() ->
        put(k, {v, 2}),
        receive stop -> ok end
    end),
    receive after 50 -> ok end,
    say([process_info(self(), {dictionary, a}), process_info(self(), {dictionary, b})]),
    say(process_info(self(), [{dictionary, a}, registered_name, {dictionary, zz}])),
    say([process_info(Pid, {dictionary, k}), process_info(Pid, [{dictionary, k}, status])]),
    say([process_info(self(), label), proc_lib:set_label({a, 1}), process_info(self(), [label, async_dist])]),
    say([process_flag(async_dist, true), process_info(self(), async_dist), process_flag(async_dist, false)]),
    Bad = [{foo, a}, {dictionary}, [{dictionary, a} | b], [{foo, a}], foo, {dictionary, a, b}, "ab"],
    say([try process_info(Pid, Item) catch error:Reason -> Reason end || Item <- Bad]),
    Map = maps:from_list([{float(X), a} || X <- lists:seq(0, 40)] ++ [{-0.0, b}]),
    say({map_size(Map), maps:get(0.0, Map), maps:get(-0.0, Map), map_size(maps:remove(-0.0, Map))}),
    Table = ets:new(table, []),
    ets:insert(Table, [{0.0, x}, {-0.0, y}]),
    say(lists:sort(ets:tab2list(Table))).

say(Term) -> io:format("~p~n", [Term]).
