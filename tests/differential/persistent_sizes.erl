%% persistent_term:info/0: each term counts its words, and a table that is half full becomes twice as large.
-module(persistent_sizes).
-export([main/0]).

main() ->
    Before = info(),
    {_, Kept} = lists:foldl(fun put_one/2, {info(), []}, lists:seq(1, 300)),
    io:format("~p~n", [lists:usort(Kept)]),
    [persistent_term:erase({?MODULE, N}) || N <- lists:seq(1, 300)],
    io:format("~p~n", [element(1, info()) =:= element(1, Before)]).

%% What a term takes beyond its own words.
put_one(N, {{Count, Memory}, Kept}) ->
    persistent_term:put({?MODULE, N}, lists:seq(1, N)),
    {Count1, Memory1} = info(),
    true = Count1 =:= Count + 1,
    Beyond = (Memory1 - Memory) div 8 - 2 * N,
    Table = growth(Count, Beyond),
    {{Count1, Memory1}, [Table | Kept]}.

%% The table has grown by as many slots as it had, or not at all.
growth(Count, Beyond) when Beyond > 20 -> {grown, Beyond - 2 * Count < 20};
growth(_, _) -> as_large.

info() ->
    #{count := Count, memory := Memory} = persistent_term:info(),
    {Count, Memory}.
