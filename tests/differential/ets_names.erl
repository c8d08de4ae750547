%% Named tables that come, go and are renamed in several processes at once: whoever has made or renamed a table finds it by its
%% name, and nobody else's by a name that it has given up.
-module(ets_names).
-export([main/0]).

main() ->
    Main = self(),
    Names = [a_table, b_table, c_table],
    Pids = [spawn_link(fun() -> worker(N, Names, 2000), Main ! {self(), done} end) || N <- lists:seq(1, 4)],
    [receive {Pid, done} -> ok end || Pid <- Pids],
    io:format("~p~n", [[ets:whereis(Name) || Name <- Names]]).

worker(_, _, 0) -> ok;
worker(N, [Name | Names], Rounds) ->
    try ets:new(Name, [named_table, public]) of
        Name -> own(Name, list_to_atom("table_of_" ++ integer_to_list(N)))
    catch
        error:badarg -> ok
    end,
    worker(N, Names ++ [Name], Rounds - 1).

own(Name, Other) ->
    Self = self(),
    Self = ets:info(Name, owner),
    true = ets:insert(Name, {key, Self}),
    [{key, Self}] = ets:lookup(Name, key),
    Other = ets:rename(Name, Other),
    [{key, Self}] = ets:lookup(Other, key),
    % The name is free, or another process has it by now.
    false = ets:info(Name, owner) =:= Self,
    true = ets:delete(Other),
    undefined = ets:info(Other, owner),
    undefined = ets:whereis(Other).
