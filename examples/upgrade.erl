%% Hot code upgrade: a running process goes over to new code and keeps its state.
-module(upgrade).
-export([main/0]).

main() ->
    load("1"),
    Pid = spawn(fun() -> greeter:loop(0) end),
    io:format("~p~n", [ask(Pid)]),
    load("2"),
    io:format("~p~n", [ask(Pid)]),
    Pid ! upgrade,
    io:format("~p~n", [ask(Pid)]),
    io:format("old code gone: ~p~n", [code:soft_purge(greeter)]).

ask(Pid) ->
    Pid ! {self(), hello},
    receive {Pid, Answer} -> Answer end.

load(Version) ->
    Lines = [
        "-module(greeter).",
        "-export([loop/1]).",
        "loop(N) -> receive"
        "  {From, hello} -> From ! {self(), {version, " ++ Version ++ ", answers, N + 1}}, loop(N + 1);"
        "  upgrade -> greeter:loop(N)"
        " end."
    ],
    Forms = [begin {ok, Tokens, _} = erl_scan:string(Line), {ok, Form} = erl_parse:parse_form(Tokens), Form end || Line <- Lines],
    {ok, greeter, Binary} = compile:forms(Forms, []),
    {module, greeter} = code:load_binary(greeter, "greeter.erl", Binary).
