%% Processes that cannot be started, since there are as many as there may be.
%% flags: +P 1024
-module(too_many_processes).
-export([main/0]).

main() ->
    logger:set_primary_config(level, none),
    Filled = fill([]),
    [io:format("~p ~p~n", [Mode, requested(Mode)]) || Mode <- [explicit_unalias, demonitor, reply_demonitor]],
    io:format("~p~n", [process_info(self(), [monitors, links])]),
    [exit(Pid, kill) || Pid <- Filled].

fill(Filled) ->
    try fill([spawn(fun() -> receive stop -> ok end end) | Filled]) catch error:system_limit -> Filled end.

%% Nothing comes through the alias of a process that there is not, before the reply and after it.
requested(Mode) ->
    Options = [link, {monitor, [{alias, Mode}]}],
    Alias = spawn_request(fun() -> ok end, Options),
    Alias ! before,
    Reply = receive {spawn_reply, Alias, Kind, Why} -> {Kind, Why} end,
    Alias ! later,
    Refused = try spawn_opt(fun() -> ok end, Options) catch error:Reason -> Reason end,
    {Reply, receive Message -> Message after 50 -> nothing end, unalias(Alias), Refused}.
