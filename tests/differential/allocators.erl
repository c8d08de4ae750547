%% What system_info tells of allocators: for what is counted, how much there is, how much there was at most since it was last
%% asked for, and ever.
-module(allocators).
-export([main/0]).

-define(MEGABYTE, (1 bsl 20)).

main() ->
    io:format("~p~n", [erlang:system_info(alloc_util_allocators)]),
    io:format("~p~n", [[Name || {Name, [_ | _]} <- erlang:system_info({allocator_sizes, erlang:system_info(alloc_util_allocators)})]]),
    io:format("~p~n", [[try erlang:system_info({What, Which}) catch error:badarg -> badarg end
                        || What <- [allocator, allocator_sizes], Which <- [none, [binary_alloc, none], "x"]]]),
    Held = [{binary_alloc, fun() -> binary:copy(<<1>>, 32 * ?MEGABYTE) end},
            {eheap_alloc, fun() -> lists:seq(1, 2 * ?MEGABYTE) end},
            {ets_alloc, fun() ->
                Table = ets:new(table, [public]),
                [ets:insert(Table, {N, {N, N, N, N}}) || N <- lists:seq(1, 300_000)],
                Table
            end},
            {literal_alloc, fun() -> persistent_term:put(?MODULE, lists:seq(1, 2 * ?MEGABYTE)), erlang:garbage_collect() end}],
    [held(Name, Make) || {Name, Make} <- Held],
    Memory = erlang:memory(),
    Of = fun(Type) -> proplists:get_value(Type, Memory) end,
    io:format("~p~n", [[Of(total) >= Of(processes) + Of(atom) + Of(binary) + Of(code) + Of(ets),
                        Of(total) =:= Of(processes) + Of(system)]]).

%% A process that makes something large, holds it and ends.
held(Name, Make) ->
    [Before, _, _] = sizes(Name),
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() -> Made = Make(), Self ! made, receive stop -> Made end end),
    receive made -> ok end,
    [Now, Lately, Largest] = sizes(Name),
    Pid ! stop,
    receive {'DOWN', Ref, process, Pid, _} -> ok end,
    persistent_term:erase(?MODULE),
    [After, LatelyAfter, LargestAfter] = falls(Name, Before + 16 * ?MEGABYTE, 100),
    io:format("~p~n", [{Name, Now >= Before + 20 * ?MEGABYTE, Lately >= Now, Largest >= Lately,
                        After < Before + 16 * ?MEGABYTE, LatelyAfter < Now, LargestAfter >= Now}]).

%% What was freed may still be on its way to where it was taken from.
falls(Name, Below, Tries) ->
    sizes(Name),
    case sizes(Name) of
        [Now, Lately, _] when (Now >= Below orelse Lately >= Below), Tries > 0 -> timer:sleep(50), falls(Name, Below, Tries - 1);
        Sizes -> Sizes
    end.

%% The sums of all instances.
sizes(Name) ->
    All = [Size || {instance, _, Figures} <- erlang:system_info({allocator_sizes, Name}),
                   {Carriers, [{blocks, Blocks} | _]} <- Figures, Carriers =/= mbcs_pool,
                   {_, [{size, Now, Lately, Largest}]} <- Blocks, Size <- [[Now, Lately, Largest]]],
    [lists:sum([lists:nth(N, Size) || Size <- All]) || N <- [1, 2, 3]].
