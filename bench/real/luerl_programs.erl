%% luerl, an interpreter of Lua in Erlang, runs three Lua programs: queens, a sieve, and words counted in a text.
-module(luerl_programs).
-export([prepare/1, main/1]).

prepare(_) ->
    case code:which(luerl) of
        non_existing -> {missing, "luerl is not there (erlang-luerl)"};
        _ -> ok
    end.

main(_) ->
    [92] = run(queens()),
    [9592] = run(sieve()),
    [50000] = run(words()),
    ok.

run(Program) ->
    case luerl:do(Program, luerl:init()) of
        {ok, Values, _} -> [trunc(V) || V <- Values];
        {Values, _} -> [trunc(V) || V <- Values]
    end.

queens() ->
    "local n, solutions = 8, 0\n"
    "local columns, up, down = {}, {}, {}\n"
    "local function place(row)\n"
    "  if row > n then solutions = solutions + 1 return end\n"
    "  for column = 1, n do\n"
    "    if not columns[column] and not up[row + column] and not down[row - column + n] then\n"
    "      columns[column], up[row + column], down[row - column + n] = true, true, true\n"
    "      place(row + 1)\n"
    "      columns[column], up[row + column], down[row - column + n] = false, false, false\n"
    "    end\n"
    "  end\n"
    "end\n"
    "place(1)\n"
    "return solutions\n".

sieve() ->
    "local limit, prime, count = 100000, {}, 0\n"
    "for i = 2, limit do prime[i] = true end\n"
    "for i = 2, limit do\n"
    "  if prime[i] then\n"
    "    count = count + 1\n"
    "    for j = i * i, limit, i do prime[j] = false end\n"
    "  end\n"
    "end\n"
    "return count\n".

words() ->
    "local names, seen, total = {'ash', 'oak', 'elm', 'fir', 'yew', 'box'}, {}, 0\n"
    "for i = 1, 50000 do\n"
    "  local word = names[i % 6 + 1] .. '-' .. tostring(i % 500)\n"
    "  seen[word] = (seen[word] or 0) + 1\n"
    "end\n"
    "for word, count in pairs(seen) do\n"
    "  if string.sub(word, 4, 4) == '-' and string.len(word) > 4 then total = total + count end\n"
    "end\n"
    "return total\n".
