%% Numbers of pids and ports: the next ones, and that they begin anew after the highest (28 bits in OTP 25; later ones have more).
-module(numbers_begin_anew).
-export([main/0]).

main() ->
    %% A warning has a time in it.
    ok = logger:set_primary_config(level, error),
    erts_debug:set_internal_state(available_internal_state, true),
    [io:format("~p: ~p~n", [Kind, {moves(Kind), wraps(Kind), refused(Kind)}]) || Kind <- [next_pid, next_port]].

moves(Kind) ->
    Before = erts_debug:get_internal_state(Kind),
    From = Before + 1000,
    Set = erts_debug:set_internal_state(Kind, From),
    %% Others may take numbers meanwhile, or have them already.
    {is_integer(Before), Set >= From, Set < From + 1000, number(Kind, made(Kind)) >= From}.

wraps(Kind) ->
    case erlang:system_info(otp_release) of
        "25" ->
            Last = (1 bsl 28) - 1,
            true = erts_debug:set_internal_state(Kind, Last - 3) >= Last - 3,
            Made = [made(Kind) || _ <- lists:seq(1, 12)],
            {length(lists:usort(Made)), [lives(One) || One <- Made], erts_debug:get_internal_state(Kind) < Last - 3};
        _ -> {12, lists:duplicate(12, true), true}
    end.

refused(Kind) ->
    [try erts_debug:set_internal_state(Kind, Wrong) of Got -> {set, Got} catch error:Reason -> Reason end || Wrong <- [-1, x]].

made(next_pid) -> spawn(fun Loop() -> receive {From, ping} -> From ! {self(), pong}, Loop() end end);
made(next_port) -> open_port({spawn, "cat"}, [binary]).

lives(Pid) when is_pid(Pid) ->
    Pid ! {self(), ping},
    receive {Pid, pong} -> true after 5000 -> false end;
lives(Port) ->
    port_command(Port, <<"here">>),
    receive {Port, {data, <<"here">>}} -> port_close(Port) after 5000 -> false end.

number(next_pid, Pid) ->
    [_, Number, Serial] = string:lexemes(pid_to_list(Pid), "<.>"),
    Bits = case erlang:system_info(otp_release) of "25" -> 15; _ -> 28 end,
    list_to_integer(Number) + (list_to_integer(Serial) bsl Bits);
number(next_port, Port) ->
    [_, Number] = string:lexemes(port_to_list(Port) -- "#Port", "<.>"),
    list_to_integer(Number).
