%% Keys of all kinds in lists of tuples, in maps made of lists, in tables and among persistent terms; the order of maps within
%% terms; what is asked of the process itself.
-module(kinds_of_keys).
-export([main/0]).

main() ->
    Keys = [1, 1.0, 0, 0.0, -0.0, 1 bsl 62, 1 bsl 70, float(1 bsl 70), a, [], <<>>, <<"k">>, "k", {}, {a, 1}, {a, 1.0}, #{}, #{a => 1}],
    Pairs = [{Key, Place} || {Place, Key} <- lists:enumerate(Keys)],
    show(keyfind, [{Key, lists:keyfind(Key, 1, Pairs), lists:keymember(Key, 1, Pairs)} || Key <- [b, 2, 2.0 | Keys]]),
    show(backwards, [lists:keyfind(Key, 1, lists:reverse(Pairs)) || Key <- Keys]),
    show(odd, [result(fun() -> lists:keyfind(1, At, [x, {}, {2}, {1, 2} | End]) end) || At <- [1, 2, 3, 0, a], End <- [[], [{1}], y]]),
    show(maps, [lists:sort(maps:to_list(maps:from_list(Some))) || Some <- [Pairs, lists:reverse(Pairs), Pairs ++ lists:reverse(Pairs)]]),
    Many = [{I rem 40, I} || I <- lists:seq(1, 100)],
    show(from_list, [maps:size(maps:from_list(lists:sublist(Many, N))) || N <- [0, 1, 31, 32, 33, 39, 40, 41, 100]]),
    show(from_list, [result(fun() -> maps:from_list(List) end) || List <- [[{a, 1}, {b, 2} | c], [{a, 1}, b], a, [{a, 1, 2}], [{a, 1} | {b, 2}]]]),
    [update(Type) || Type <- [set, ordered_set, bag]],
    WithMaps = [{#{a => X, b => Y}, Z} || X <- [1, 1.0, 2, #{}, #{c => 2}], Y <- [0, a, #{c => 1}, #{c => 1.0}], Z <- [1, #{}]],
    show(order, [Place || Sorted <- lists:sort(WithMaps), {Place, Term} <- lists:enumerate(WithMaps), Term =:= Sorted]),
    show(order, [A < B || A <- deep(), B <- deep()]),
    [persistent_term:put({?MODULE, Key}, {value, Key}) || Key <- Keys],
    show(persistent, [{Key, persistent_term:get({?MODULE, Key}, none)} || Key <- [b | Keys]]),
    show(erased, [persistent_term:erase({?MODULE, Key}) || Key <- [b, a, 1.0, "k"]]),
    show(persistent, [{Key, persistent_term:get({?MODULE, Key}, none)} || Key <- [b | Keys]]),
    [persistent_term:put({?MODULE, Key}, again) || Key <- [a, 1, 1.0]],
    show(persistent, lists:sort([lists:flatten(io_lib:format("~w", [Pair])) || {{?MODULE, _}, _} = Pair <- persistent_term:get()])),
    show(missing, result(fun() -> persistent_term:get({?MODULE, b}) end)),
    Plain = [0.0, 1, 2.0, 1 bsl 62, ?MODULE, [?MODULE]],
    [persistent_term:put(Key, {plain, Key}) || Key <- Plain],
    show(plain, [{Key, persistent_term:get(Key, none)} || Key <- [-0.0, 1.0, 2, b, [b] | Plain]]),
    show(plain, [persistent_term:erase(Key) || Key <- [-0.0, 1.0 | Plain]]),
    self() ! one,
    put(key, "value"),
    Items = [message_queue_len, messages, registered_name, [registered_name], [message_queue_len, dictionary, priority], [], foo, [foo], [messages | a]],
    show(info, [result(fun() -> process_info(self(), Item) end) || Item <- Items]),
    register(?MODULE, self()),
    show(info, [process_info(self(), Item) || Item <- [registered_name, [registered_name, trap_exit]]]).

update(Type) ->
    Table = ets:new(table, [Type]),
    ets:insert(Table, [{1, a, b}, {2, x}]),
    Changes = [{2, new}, {3, "new"}, [{2, 1}, {3, 2}], [], {1, k}, {4, x}, {0, x}, {a, x}, a, [a], [{2, y} | z]],
    show(Type, [{Key, Change, result(fun() -> ets:update_element(Table, Key, Change) end)} || Key <- [1, 1.0, 2, 3], Change <- Changes]),
    show(Type, lists:sort(ets:tab2list(Table))).

%% Maps under more levels than are compared without a list.
deep() -> [lists:foldl(fun(_, Inner) -> [#{a => {Inner, 1}, b => [2]}] end, End, lists:seq(1, Levels)) || Levels <- [1, 10, 100], End <- [1, 1.0, 2, a]].

result(F) -> try F() catch Class:Reason -> {Class, Reason} end.

show(What, Result) -> io:format("~p: ~p~n", [What, Result]).
