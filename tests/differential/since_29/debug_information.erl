%% Debug information of modules: what code:get_debug_info/1 tells with +D, also without line breakpoints, and files that are refused.
%% flags: +D
%% flags: +D +Dibpl false
-module(debug_information).
-export([main/0]).

main() ->
    Source = "-module(debugged).\n-export([f/2]).\n"
             "f(X, Y) ->\n    Z = g(X, Y),\n    case lists:member(Z, [1, 2]) of\n        true -> Known = done, {Known, X};\n"
             "        false -> Fun = fun(A) -> A + Y end,\n            h(Fun(Z))\n    end.\n"
             "g(X, Y) -> try X + Y catch _:Reason -> {Reason, Y} end.\nh(X) -> X.\n",
    Plain = compiled(Source, []),
    Debug = compiled(Source, [beam_debug_info]),
    Files = [{plain, Plain}, {debug, Debug}, {without, with_chunk("DbgB", none, Debug)}]
        ++ [{Name, with_chunk("DbgB", Bytes, Debug)} || {Name, Bytes} <-
            [{empty, <<>>}, {other_version, <<2:32, 9:32>>}, {short, <<1:32>>}, {no_places, <<1:32, 0:32, 0:32>>},
             {count_only, <<1:32, 5:32, 0:32>>}, {not_a_call, <<1:32, 1:32, 0:32, 1, 0, 2>>}, {one_place, <<1:32, 1:32, 0:32, 4, 0, 2>>}]],
    [io:format("~p: ~kp~n", [Name, load(Name, File)]) || {Name, File} <- Files],
    io:format("~p~n", [[try code:get_debug_info(Module) catch error:Reason -> Reason end || Module <- [no_such_module, 1, lists]]]).

compiled(Source, Options) ->
    Forms = forms(Source),
    {ok, debugged, Code} = compile:forms(Forms, Options),
    Code.

forms(Source) ->
    {ok, Tokens, _} = erl_scan:string(Source, {1, 1}),
    forms(Tokens, []).

forms([], []) -> [];
forms([{dot, _} = Dot | Rest], Form) ->
    {ok, Parsed} = erl_parse:parse_form(lists:reverse(Form, [Dot])),
    [Parsed | forms(Rest, [])];
forms([Token | Rest], Form) -> forms(Rest, [Token | Form]).

with_chunk(Name, Bytes, Code) ->
    {ok, _, Chunks} = beam_lib:all_chunks(Code),
    Others = lists:keydelete(Name, 1, Chunks),
    {ok, Changed} = beam_lib:build_module([{Name, Bytes} || Bytes =/= none] ++ Others),
    Changed.

load(Name, Code) ->
    logger:set_primary_config(level, none),
    Loaded = code:load_binary(debugged, atom_to_list(Name), Code),
    Known = case Loaded of
        {module, _} -> [{debugged:f(0, 1), debugged:f(3, 1)}, code:get_debug_info(debugged)];
        _ -> none
    end,
    code:purge(debugged),
    code:delete(debugged),
    code:purge(debugged),
    {Loaded, Known}.
