%% What reload_hot loads again and again: the number of the version stands where VERSION does.
-module(hot).
-export([version/0, work/1, wait/0]).

%% Found in the file by its bytes, all four of which have to be there.
-define(VERSION, 16#12345678).

version() -> ?VERSION.

%% Runs for a while in this version, making garbage, funs and exceptions; its number. Calls with the module's name
%% may come to a later version, others not.
work(Turns) -> work(Turns, ?VERSION, []).

work(0, Version, _) -> Version;
work(N, Version, List) ->
    Version = version(),
    Version = catch_thrown(Version),
    Later = ?MODULE:version(),
    true = Later >= Version,
    Add = fun(X) -> {X, Version} end,
    [{N, Version} | _] = Kept = lists:map(Add, [N, N + 1 | [X || {X, _} <- List]]),
    work(N - 1, Version, lists:sublist(Kept, 5)).

catch_thrown(Version) -> try throw(?VERSION) catch throw:Version -> Version end.

%% Stays in this version for as long as it is wanted.
wait() ->
    receive
        {version, From} -> From ! {self(), ?VERSION}, wait();
        stop -> ok
    end.
