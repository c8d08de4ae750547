%% Why ets:update_element fails, as the report names it.
-module(element_positions).
-export([main/0]).

main() ->
    Table = ets:new(table, [private]),
    ets:insert(Table, {one, two, three}),
    [io:format("~p: ~p~n", [Args, refused([Table | Args])])
        || Args <- [[Key, Change | Default] || Key <- [one, no_key], Change <- [{0, x}, {-1, x}, {1, x}, {4, x}, {2, x}, {a, x}, [{2, x}, {9, x}], not_tuple],
                                               Default <- defaults()]],
    io:format("~p~n", [lists:sort(ets:tab2list(Table))]).

%% OTP 27 brought the default object.
defaults() ->
    case erlang:function_exported(ets, update_element, 4) of
        true -> [[], [{no_key, old}], [not_tuple]];
        false -> [[]]
    end.

refused(Args) ->
    try apply(ets, update_element, Args)
    catch error:Reason:Stack ->
        [{_, _, _, Info} | _] = Stack,
        #{module := Module} = proplists:get_value(error_info, Info),
        {Reason, proplists:get_value(error_info, Info), Module:format_error(Reason, Stack)}
    end.
