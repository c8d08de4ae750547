%% 8 tellers move money between 2,000 accounts in mnesia, 6,000 transactions each, with an index and a journal.
-module(mnesia_bank).
-export([main/1]).
-record(account, {number, branch, balance}).
-record(entry, {key, from, to, amount}).
-define(ACCOUNTS, 2000).
-define(TELLERS, 8).
-define(TRANSACTIONS, 6000).
-define(OPENING_BALANCE, 1000).

main(Folder) ->
    application:set_env(mnesia, dir, filename:join(Folder, "mnesia")),
    ok = application:start(mnesia),
    {atomic, ok} = mnesia:create_table(account, [{ram_copies, [node()]}, {attributes, record_info(fields, account)}, {index, [branch]}]),
    {atomic, ok} = mnesia:create_table(entry, [{ram_copies, [node()]}, {type, ordered_set}, {attributes, record_info(fields, entry)}]),
    Open = fun() -> [mnesia:write(#account{number = N, branch = N rem 20, balance = ?OPENING_BALANCE}) || N <- lists:seq(0, ?ACCOUNTS - 1)] end,
    {atomic, _} = mnesia:transaction(Open),
    Tellers = [spawn_monitor(fun() -> teller(Number, ?TRANSACTIONS) end) || Number <- lists:seq(1, ?TELLERS)],
    lists:foreach(fun({Pid, Monitor}) -> receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end end, Tellers),
    {atomic, Sum} = mnesia:transaction(fun() -> mnesia:foldl(fun(#account{balance = B}, S) -> S + B end, 0, account) end),
    Sum = ?ACCOUNTS * ?OPENING_BALANCE,
    stopped = mnesia:stop(),
    ok.

teller(_, 0) -> ok;
teller(Teller, N) when N rem 100 =:= 0 ->
    {atomic, Accounts} = mnesia:transaction(fun() -> mnesia:index_read(account, N div 100 rem 20, #account.branch) end),
    100 = length(Accounts),
    teller(Teller, N - 1, N);
teller(Teller, N) ->
    teller(Teller, N - 1, N).

teller(Teller, Next, N) ->
    From = (N * 7919 + Teller * 104729) rem ?ACCOUNTS,
    To = (N * 31 + Teller * 17 + 1) rem ?ACCOUNTS,
    {atomic, ok} = mnesia:transaction(fun() -> move({Teller, N}, From, To, 1 + N rem 10) end),
    teller(Teller, Next).

move(_, Account, Account, _) -> ok;
move(Key, From, To, Amount) ->
    [#account{balance = A} = Giver] = mnesia:read(account, From, write),
    [#account{balance = B} = Taker] = mnesia:read(account, To, write),
    ok = mnesia:write(Giver#account{balance = A - Amount}),
    ok = mnesia:write(Taker#account{balance = B + Amount}),
    mnesia:write(#entry{key = Key, from = From, to = To, amount = Amount}).
