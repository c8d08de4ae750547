%% Many new versions of nif_families, whose library takes over the objects of the one before, while others call it.
-module(nif_upgrades).
-export([main/0]).

%% How many: erl stops its schedulers for each, which takes it a minute for a thousand.
-define(UPGRADES, list_to_integer(os:getenv("UPGRADES", "200"))).

main() ->
    Objects = [nif_families:new_object(N) || N <- lists:seq(1, 50)],
    {_, Beam, File} = code:get_object_code(nif_families),
    Busy = [spawn_link(fun() -> busy(nif_families:new_object(N), N) end) || N <- lists:seq(1, 4)],
    [begin
        purge(),
        {module, nif_families} = code:load_binary(nif_families, File, Beam)
     end || _ <- lists:seq(1, ?UPGRADES)],
    io:format("~p ~p~n", [nif_families:generation(), [nif_families:value_of(O) || O <- Objects] =:= lists:seq(1, 50)]),
    [Pid ! {stop, self()} || Pid <- Busy],
    io:format("~p~n", [[receive {Pid, Result} -> Result end || Pid <- Busy]]),
    purge(),
    code:delete(nif_families),
    purge(),
    %% What is left of a library that was unloaded is no object of the next.
    io:format("~p ~p~n", [nif_families:generation(), try nif_families:value_of(hd(Objects)) catch error:Reason -> Reason end]).

%% A process may be about to run the old version: it is not to be killed for that.
purge() ->
    case code:soft_purge(nif_families) of
        true -> ok;
        false -> erlang:yield(), purge()
    end.

%% Calls the newest version all the time.
busy(Object, N) ->
    N = nif_families:value_of(Object),
    N = nif_families:value_of(nif_families:new_object(N)),
    N = nif_families:nothing(N),
    receive
        {stop, From} -> From ! {self(), done}
    after N rem 2 -> busy(Object, N)
    end.
