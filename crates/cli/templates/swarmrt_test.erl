%% What `swarmrt test` runs in a folder without a build tool: compiles its modules, and runs their eunit tests.
%%
%% main([Folder, Output, Colour]): Output is an empty folder for what is compiled; Colour is "colour" or "plain".
%% Exit codes: 0 all passed, 1 a test failed or a module does not compile, 2 there are no tests.
-module(swarmrt_test).
-export([main/1]).
%% A listener of eunit: start/1 is called by eunit, the others by eunit_listener.
-export([start/1, init/1, handle_begin/3, handle_end/3, handle_cancel/3, terminate/2]).

-record(state, {colour, runner, failures = [], started}).

main([Folder, Output, Colour]) ->
    ok = file:set_cwd(Folder),
    Sources = sources(),
    Suites = [File || File <- Sources, lists:suffix("_SUITE.erl", File)],
    Ebin = filename:join([Output, application_name(), "ebin"]),
    ok = filelib:ensure_dir(filename:join(Ebin, "x")),
    true = code:add_patha(Ebin),
    case compile_all(Sources -- Suites, options(Ebin)) of
        {ok, Modules} ->
            write_application(Ebin, Modules),
            Suites =:= [] orelse note("left out: ~ts (common_test suites need a project of rebar3)", [lists:join(", ", Suites)]),
            halt(run([Module || Module <- Modules, has_tests(Module), not is_part(Module, Modules)], Colour));
        {error, Messages} ->
            io:put_chars(standard_error, Messages),
            halt(1)
    end.

note(Format, Arguments) ->
    io:format(standard_error, "swarmrt: " ++ Format ++ "~n", Arguments).

%% ---- Compiling

sources() ->
    lists:usort(lists:append([filelib:wildcard(Pattern) || Pattern <- ["*.erl", "src/**/*.erl", "test/**/*.erl"]])).

options(Ebin) ->
    [return, debug_info, nowarn_export_all, {d, 'TEST'}, {d, 'EUNIT'}, {outdir, Ebin}, {i, "include"}, {i, "src"}, {i, "test"}, {i, "."}].

%% A module may need another one to be compiled first (parse transforms, behaviours): those that fail are tried again for
%% as long as others succeed.
compile_all(Sources, Options) ->
    compile_all(Sources, Options, []).

compile_all(Sources, Options, Before) ->
    Results = [{Source, compile:file(Source, Options)} || Source <- Sources],
    [print_warnings(Warnings) || {_, {ok, _, Warnings}} <- Results],
    Done = Before ++ [element(2, Result) || {_, Result} <- Results, element(1, Result) =:= ok],
    case [{Source, Result} || {Source, Result} <- Results, element(1, Result) =/= ok] of
        [] -> {ok, Done};
        Failed when length(Failed) < length(Sources) ->
            compile_all([Source || {Source, _} <- Failed], Options, Done);
        Failed ->
            {error, [messages(Errors, "") || {_, {error, Errors, _}} <- Failed]}
    end.

print_warnings(Warnings) ->
    io:put_chars(standard_error, messages(Warnings, "Warning: ")).

messages(PerFile, Prefix) ->
    %% A macro's text may be in the code twice.
    lists:usort([unicode:characters_to_list([File, position(Where), ": ", Prefix, Module:format_error(What), $\n])
        || {File, All} <- PerFile, {Where, Module, What} <- All]).

position(none) -> "";
position({Line, Column}) -> io_lib:format(":~w:~w", [Line, Column]);
position(Line) -> io_lib:format(":~w", [Line]).

%% ---- The application, so that tests can start it

application_file() ->
    case filelib:wildcard("src/*.app.src") of
        [File | _] -> File;
        [] -> none
    end.

application_name() ->
    case application_file() of
        none -> filename:basename(filename:absname(""));
        File -> filename:basename(File, ".app.src")
    end.

write_application(Ebin, Modules) ->
    case application_file() of
        none -> ok;
        File ->
            case file:consult(File) of
                {ok, [{application, Name, Keys}]} ->
                    Tests = [Module || Module <- Modules, lists:suffix("_tests", atom_to_list(Module))],
                    All = lists:keystore(modules, 1, Keys, {modules, Modules -- Tests}),
                    Text = io_lib:format("~tp.~n", [{application, Name, All}]),
                    ok = file:write_file(filename:join(Ebin, [Name, ".app"]), unicode:characters_to_binary(Text));
                {error, Why} -> note("~ts: ~ts", [File, file:format_error(Why)]);
                {ok, _} -> note("~ts: it is no application resource file", [File])
            end
    end.

%% ---- Running

has_tests(Module) ->
    {module, Module} = code:ensure_loaded(Module),
    erlang:function_exported(Module, test, 0).

%% eunit runs `x_tests` together with `x`.
is_part(Module, Modules) ->
    Name = atom_to_list(Module),
    lists:suffix("_tests", Name) andalso
        lists:any(fun(Other) -> atom_to_list(Other) ++ "_tests" =:= Name andalso has_tests(Other) end, Modules).

run([], _) ->
    note("there are no eunit tests here~n  next: functions named *_test and *_test_, with -include_lib(\"eunit/include/eunit.hrl\")", []),
    2;
run(Modules, Colour) ->
    %% What applications tell of their ends would stand between the marks of progress.
    ok = logger:set_primary_config(level, warning),
    Started = erlang:monotonic_time(millisecond),
    Listener = {?MODULE, [{colour, Colour =:= "colour"}, {runner, self()}, {started, Started}]},
    _ = eunit:test(Modules, [no_tty, {report, Listener}]),
    %% It returns when the listener has ended.
    receive {?MODULE, Code} -> Code after 0 -> 1 end.

%% ---- The listener

start(Options) ->
    eunit_listener:start(?MODULE, Options).

init(Options) ->
    [Colour, Runner, Started] = [proplists:get_value(Key, Options) || Key <- [colour, runner, started]],
    receive {start, _} -> #state{colour = Colour, runner = Runner, started = Started} end.

handle_begin(_, _, State) -> State.

handle_end(test, Data, State) ->
    case proplists:get_value(status, Data) of
        ok -> progress(green, $., State);
        {skipped, Why} -> failed($S, Data, cancelled(Why), State);
        {error, Exception} -> failed($F, Data, exception(Exception), State)
    end;
handle_end(group, _, State) -> State.

handle_cancel(What, Data, State) ->
    case proplists:get_value(reason, Data) of
        %% A part of it was cancelled, and told of it.
        {blame, _} -> State;
        undefined when What =:= group -> State;
        Why -> failed($C, Data, cancelled(Why), State)
    end.

failed(Letter, Data, Text, State) ->
    Output = case iolist_size(io_lib:format("~ts", [proplists:get_value(output, Data, [])])) of
        0 -> [];
        _ -> ["  output:\n", indented(io_lib:format("~ts", [proplists:get_value(output, Data)]))]
    end,
    Failure = [title(Data), $\n, indented(Text), Output],
    progress(red, Letter, State#state{failures = [Failure | State#state.failures]}).

progress(Colour, Letter, State) ->
    io:put_chars(painted(Colour, [Letter], State)),
    State.

exception(Exception) ->
    eunit_lib:format_exception(Exception, 40).

cancelled(undefined) -> "skipped";
cancelled(timeout) -> "timed out";
cancelled({timeout, #{stacktrace := Stack}}) -> ["timed out\n", eunit_lib:format_stacktrace(Stack)];
cancelled({startup, Why}) -> io_lib:format("the test process cannot be started: ~tP", [Why, 40]);
cancelled({exit, Why}) -> io_lib:format("the test process ended: ~tP", [Why, 40]);
cancelled({abort, Why}) -> eunit_lib:format_error(Why, 40);
cancelled(Why) -> io_lib:format("~tP", [Why, 40]).

title(Data) ->
    Place = case {proplists:get_value(source, Data), proplists:get_value(line, Data, 0)} of
        {{Module, Function, Arity}, Line} when is_integer(Line), Line > 0 -> io_lib:format("~ts:~ts/~w, line ~w", [Module, Function, Arity, Line]);
        {{Module, Function, Arity}, _} -> io_lib:format("~ts:~ts/~w", [Module, Function, Arity]);
        _ -> ""
    end,
    case {proplists:get_value(desc, Data), Place} of
        {Empty, ""} when Empty =:= undefined; Empty =:= "" -> "a group of tests";
        {Empty, _} when Empty =:= undefined; Empty =:= "" -> Place;
        {Name, ""} -> Name;
        {Name, _} -> [Name, " (", Place, ")"]
    end.

%% Without the calls by which eunit comes to a test.
indented(Text) ->
    Lines = string:split(string:trim(unicode:characters_to_list(Text), both, "\n"), "\n", all),
    [["    ", Line, $\n] || Line <- Lines, string:find(Line, "in call from eunit_") =:= nomatch].

painted(_, Text, #state{colour = false}) -> Text;
painted(green, Text, _) -> ["\e[32m", Text, "\e[0m"];
painted(red, Text, _) -> ["\e[1;31m", Text, "\e[0m"].

terminate(Result, State) ->
    Count = fun(Key) -> case Result of {ok, Data} -> proplists:get_value(Key, Data, 0); _ -> 0 end end,
    Failures = lists:reverse(State#state.failures),
    io:put_chars("\n"),
    Failures =:= [] orelse io:put_chars("\n"),
    [io:put_chars([painted(red, integer_to_list(N) ++ ") ", State), Failure, $\n]) || {N, Failure} <- lists:enumerate(Failures)],
    [Pass, Fail, Skip, Cancel] = [Count(Key) || Key <- [pass, fail, skip, cancel]],
    Took = (erlang:monotonic_time(millisecond) - State#state.started) / 1000,
    Bad = length(Failures),
    Summary = io_lib:format("~w passed, ~w failed, ~w skipped or cancelled (~.2f s)", [Pass, Fail, max(Skip + Cancel, Bad - Fail), Took]),
    Whole = element(1, Result) =:= ok,
    Whole orelse note("eunit itself failed: ~tP", [Result, 40]),
    Colour = case Whole andalso Bad =:= 0 of true -> green; false -> red end,
    io:put_chars([painted(Colour, Summary, State), $\n]),
    State#state.runner ! {?MODULE, if
        not Whole; Bad > 0; Fail > 0; Skip > 0; Cancel > 0 -> 1;
        Pass =:= 0 -> 2;
        true -> 0
    end}.
