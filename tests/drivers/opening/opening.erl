%% How ports open whose driver says later whether they are, compared between runtimes.
-module(opening).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    ok = erl_ddll:load(".", opening_drv),
    [io:format("~s: ~0p~n", [Command, opened(Command)])
     || Command <- ["start general", "start badarg", "start errno", "later", "later general", "later badarg", "later errno", "later failure"]].

%% What open_port says, whether it has waited, whether the port works, and what comes afterwards.
opened(Command) ->
    Began = erlang:monotonic_time(millisecond),
    Port = try open_port({spawn_driver, "opening_drv " ++ Command}, []) catch error:Reason -> Reason end,
    Waited = erlang:monotonic_time(millisecond) - Began >= 40,
    {kind(Port), Waited, echo(Port), [kind(Message) || Message <- got()], [L || L <- element(2, process_info(self(), links)), is_port(L)]}.

echo(Port) when is_port(Port) ->
    try port_command(Port, "abc") of
        true ->
            Answer = receive {Port, {data, Data}} -> Data after 1000 -> nothing end,
            {Answer, port_close(Port)}
    catch
        error:Reason -> Reason
    end;
echo(_) ->
    none.

got() ->
    receive Message -> [Message | got()] after 100 -> [] end.

kind(Port) when is_port(Port) -> port;
kind(Tuple) when is_tuple(Tuple) -> list_to_tuple([kind(Part) || Part <- tuple_to_list(Tuple)]);
kind(Other) -> Other.
