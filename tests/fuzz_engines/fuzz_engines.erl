%% The engines against each other: modules made at random (fuzz_source), run by the machine that this runs on, which
%% is the oracle, and then by the engines of another (fuzz_run).
%%
%% main(["--seed", S, "--functions", N, "--seconds", N, "--machine", Program, "--engines", "a,b"]) goes on for so
%% many functions or seconds, or to the first module that comes out differently, which is then made smaller.
-module(fuzz_engines).
-export([main/1, oracle/1]).

-define(FUNCTIONS_PER_MODULE, 24).
-define(MODULES_PER_BATCH, 16).
-define(REPEATS, 40).
%% A call that takes longer or more than this on the oracle is left out.
-define(CALL_MS, 20).
-define(CALL_WORDS, 400000).
-define(RESULT_WORDS, 20000).
-define(BATCH_SECONDS, 120).
%% How often the machine is started to make a finding smaller.
-define(ROUNDS, 200).

-record(options, {seed = 1, functions = infinity, seconds = infinity, machine, engines, folder}).

main(Arguments) ->
    %% The oracle's loader says so when it refuses what its compiler made.
    logger:set_primary_config(level, none),
    Folder = string:trim(os:cmd("mktemp -d")),
    #options{seed = Seed, seconds = Seconds} = Options = options(Arguments, #options{folder = Folder}),
    Code = batches(Seed, 0, erlang:monotonic_time(second), Seconds, Options),
    file:del_dir_r(Folder),
    halt(Code).

options([], Options) -> Options;
options(["--seed", S | T], Options) -> options(T, Options#options{seed = list_to_integer(S)});
options(["--functions", N | T], Options) -> options(T, Options#options{functions = list_to_integer(N)});
options(["--seconds", N | T], Options) -> options(T, Options#options{seconds = list_to_integer(N)});
options(["--machine", P | T], Options) -> options(T, Options#options{machine = P});
options(["--engines", E | T], Options) -> options(T, Options#options{engines = string:lexemes(E, ",")}).

batches(Seed, Done, Started, Seconds, #options{functions = Wanted} = Options) ->
    %% An atom is greater than any number.
    case Done >= Wanted orelse erlang:monotonic_time(second) - Started >= Seconds of
        true ->
            io:format("~b functions come out the same (seeds ~b to ~b)~n", [Done, Options#options.seed, Seed - 1]),
            0;
        false ->
            Count = min(?MODULES_PER_BATCH, case Wanted of infinity -> ?MODULES_PER_BATCH; _ -> ceil((Wanted - Done) / ?FUNCTIONS_PER_MODULE) end),
            Batch = batch(lists:seq(Seed, Seed + Count - 1), Options),
            Source = fun(Module) -> {Forms, _} = source(seed(Module)), Forms end,
            case [{Engine, Finding} || Engine <- Options#options.engines, Finding <- run(Engine, Batch, Options), not alone(Source, Finding)] of
                [] ->
                    batches(Seed + Count, Done + lists:sum([length(Calls) || {_, _, Calls} <- Batch]), Started, Seconds, Options);
                [First | _] = Findings ->
                    [io:format("~s: ~w:~w~n", [Engine, M, F]) || {Engine, {M, F}} <- lists:usort([{E, {M, F}} || {E, {M, F, _, _}} <- Findings])],
                    explain(First, Batch, Options),
                    1
            end
    end.

%% Modules made by an oracle of their own, because it ends on some of them; those are left out.
batch(Seeds, #options{folder = Folder}) ->
    File = filename:join(Folder, "made"),
    Eval = "fuzz_engines:oracle(init:get_plain_arguments())",
    Arguments = ["-noinput", "-pa", filename:dirname(code:which(?MODULE)), "-eval", Eval, "-extra", File | [integer_to_list(Seed) || Seed <- Seeds]],
    Port = open_port({spawn_executable, os:find_executable("erl")}, [{args, Arguments}, {line, 1000}, exit_status, stderr_to_stdout, hide]),
    made_by(Port, none, Seeds, File, Folder).

made_by(Port, At, Seeds, File, Folder) ->
    receive
        {Port, {data, {_, Line}}} ->
            Now = try list_to_integer(Line) catch error:badarg -> At end,
            made_by(Port, Now, Seeds, File, Folder);
        {Port, {exit_status, 0}} ->
            {ok, Binary} = file:read_file(File),
            binary_to_term(Binary);
        {Port, {exit_status, Status}} when At =/= none ->
            io:format("(the oracle ends with status ~b at seed ~b)~n", [Status, At]),
            batch(lists:delete(At, Seeds), #options{folder = Folder})
    end.

oracle([File | Seeds]) ->
    logger:set_primary_config(level, none),
    Batch = lists:append([begin io:format("~s~n", [Seed]), made(list_to_integer(Seed)) end || Seed <- Seeds]),
    ok = file:write_file(File, term_to_binary(Batch)),
    halt().

%% A module: its code, and what each call comes to here.
made(Seed) ->
    {Forms, Functions} = source(Seed),
    {ok, Module, Beam} = compiled(name(Seed), Forms, Seed),
    expected(Module, Beam, Functions).

seed(Module) -> "fuzz_" ++ Number = atom_to_list(Module), list_to_integer(Number).
name(Seed) -> list_to_atom("fuzz_" ++ integer_to_list(Seed)).

%% Nothing for code of the compiler that the oracle's loader refuses, which happens now and then.
expected(Module, Beam, Functions) ->
    case code:load_binary(Module, "fuzz", Beam) of
        {module, Module} ->
            Calls = [{F, lists:flatmap(fun(A) -> call(Module, F, A) end, lists:usort(ArgumentLists))} || {F, ArgumentLists} <- Functions],
            code:delete(Module),
            code:purge(Module),
            [{Module, Beam, Calls}];
        {error, badfile} -> []
    end.

source(Seed) ->
    {Text, Functions} = fuzz_source:module(atom_to_list(name(Seed)), Seed, ?FUNCTIONS_PER_MODULE),
    {ok, Tokens, _} = erl_scan:string(Text),
    {forms(Tokens), Functions}.

forms([]) -> [];
forms(Tokens) ->
    {Form, [Dot | Rest]} = lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens),
    {ok, Parsed} = erl_parse:parse_form(Form ++ [Dot]),
    [Parsed | forms(Rest)].

%% What the compiler is told decides which instructions there are.
compiled(Module, Forms, Seed) ->
    Options = element(Seed rem 8 + 1, {[], [], [], [], [no_type_opt], [no_copt], [r24], [no_ssa_opt]}),
    compile:forms(lists:keyreplace(module, 3, Forms, {attribute, 1, module, Module}), [binary | Options]).

call(Module, Function, Arguments) ->
    case bounded(fun() -> apply(Module, Function, Arguments) end) of
        {outcome, Outcome} -> [{Arguments, Outcome}];
        too_much -> []
    end.

bounded(Call) ->
    Heap = #{size => ?CALL_WORDS, kill => true, error_logger => false},
    Bounded = fun() ->
        Outcome = fuzz_run:outcome(Call),
        exit({outcome, erts_debug:flat_size(Outcome) =< ?RESULT_WORDS, Outcome})
    end,
    {Pid, Monitor} = spawn_opt(Bounded, [monitor, {max_heap_size, Heap}]),
    receive
        {'DOWN', Monitor, _, _, {outcome, true, Outcome}} -> {outcome, Outcome};
        {'DOWN', Monitor, _, _, _} -> too_much
    after ?CALL_MS ->
        exit(Pid, kill),
        receive {'DOWN', Monitor, _, _, _} -> too_much end
    end.

%% Whether the oracle's machine code is alone with what it says, since the oracle's evaluator says what we do:
%% then it is a fault of the oracle's.
alone(_, {_, ends_early, _, _}) -> false;
alone(Source, {Module, Function, Arguments, Got}) ->
    Forms = erl_expand_records:module(Source(Module), []),
    case bounded(fun() -> evaluated(Forms, Function, Arguments) end) of
        {outcome, Outcome} ->
            Alone = term_to_binary(Outcome) =:= term_to_binary(Got),
            [io:format("(~w:~w comes out differently, but so it does in the oracle's evaluator)~n", [Module, Function]) || Alone],
            Alone;
        too_much -> false
    end.

evaluated(Forms, Function, Arguments) ->
    [Clauses] = [Clauses || {function, _, F, A, Clauses} <- Forms, F =:= Function, A =:= length(Arguments)],
    Local = {value, fun(F, As) -> evaluated(Forms, F, As) end},
    {value, Fun, _} = erl_eval:expr({'fun', 1, {clauses, Clauses}}, [], Local),
    apply(Fun, Arguments).

%% What the machine finds different: {Module, Function, Arguments, Got}, or where it ended.
run(Engine, Batch, #options{machine = Machine, folder = Folder}) ->
    File = filename:join(Folder, "batch"),
    ok = file:write_file(File, term_to_binary({?REPEATS, Batch})),
    Arguments = ["-k", "1", integer_to_list(?BATCH_SECONDS), Machine, "erl", "-noinput", "-pa", filename:dirname(code:which(fuzz_run)), "-run", "fuzz_run", "main", File],
    Port = open_port(
        {spawn_executable, os:find_executable("timeout")},
        [{args, Arguments}, {env, [{"SWARMRT_ENGINE", Engine}]}, {line, 10000000}, exit_status, stderr_to_stdout, hide]
    ),
    output(Port, Engine, none, []).

output(Port, Engine, At, Findings) ->
    receive
        {Port, {data, {_, Line}}} ->
            case erl_scan:string(Line) of
                {ok, [{'{', _}, {atom, _, fuzz} | _] = Tokens, _} ->
                    case erl_parse:parse_term(Tokens) of
                        {ok, {fuzz, module, Module}} -> output(Port, Engine, Module, Findings);
                        {ok, {fuzz, different, Module, Function, Term}} ->
                            {Arguments, Got} = binary_to_term(Term),
                            output(Port, Engine, At, [{Module, Function, Arguments, Got} | Findings]);
                        {ok, {fuzz, refused, Module}} ->
                            io:format("(~w is refused)~n", [Module]),
                            output(Port, Engine, At, Findings);
                        {ok, {fuzz, done}} -> output(Port, Engine, done, Findings)
                    end;
                _ ->
                    io:format("~s, ~w: ~ts~n", [Engine, At, Line]),
                    output(Port, Engine, At, Findings)
            end;
        {Port, {exit_status, 0}} when At =:= done -> lists:reverse(Findings);
        {Port, {exit_status, Status}} -> lists:reverse(Findings, [{At, ends_early, Status, none}])
    end.

%% Making a finding smaller: the forms with one part left out, or in the place of what it is part of, as long as
%% something still comes out differently.
explain({Engine, {Module, Function, _, _}}, Batch, Options) ->
    {Module, _, Calls} = lists:keyfind(Module, 1, Batch),
    Seed = seed(Module),
    Wanted = [{F, [A || {A, _} <- Outcomes]} || {F, Outcomes} <- Calls, F =:= Function orelse Function =:= ends_early],
    {All, _} = source(Seed),
    Forms = only(reached([F || {F, _} <- Wanted], All, []), All),
    Wrong = fun(Candidates) -> wrong(Candidates, Seed, Wanted, Engine, Options) end,
    io:format("The first of them, made smaller (--seed ~b, engine ~s):~n", [Seed, Engine]),
    {Smallest, Why} = smaller(Forms, Wrong([Forms]), Wrong, 0, false, ?ROUNDS),
    [io:format("~ts", [erl_pp:form(Form)]) || Form <- Smallest],
    case Why of
        {_, {_, F, Arguments, Got}, Expected} -> io:format("~w called with ~w~n  is      ~w~n  but was ~w~n", [F, Arguments, Expected, Got]);
        none -> io:format("It does not come out differently every time.~n")
    end.

%% The functions that some functions use.
reached([], _, Seen) -> Seen;
reached([F | Fs], Forms, Seen) ->
    case lists:member(F, Seen) of
        true -> reached(Fs, Forms, Seen);
        false ->
            {function, _, F, _, Clauses} = lists:keyfind(F, 3, Forms),
            reached(Fs ++ [G || {function, _, G, _, _} <- Forms, G =/= F, mentions(G, Clauses)], Forms, [F | Seen])
    end.

mentions(F, F) -> true;
mentions(F, Tuple) when is_tuple(Tuple) -> mentions(F, tuple_to_list(Tuple));
mentions(F, [H | T]) -> mentions(F, H) orelse mentions(F, T);
mentions(_, _) -> false.

only(Names, Forms) ->
    [case Form of {attribute, L, export, Es} -> {attribute, L, export, [E || {F, _} = E <- Es, lists:member(F, Names)]}; _ -> Form end
     || Form <- Forms, not (element(1, Form) =:= function andalso not lists:member(element(3, Form), Names))].

smaller(Forms, Why, _, _, _, 0) -> {Forms, Why};
smaller(Forms, none, _, _, _, _) -> {Forms, none};
smaller(Forms, Why, Wrong, From, Progress, Rounds) ->
    All = variants(Forms),
    case From >= length(All) of
        true when Progress -> smaller(Forms, Why, Wrong, 0, false, Rounds);
        true -> {Forms, Why};
        false ->
            Candidates = lists:sublist(All, From + 1, ?MODULES_PER_BATCH),
            case Wrong(Candidates) of
                none -> smaller(Forms, Why, Wrong, From + ?MODULES_PER_BATCH, Progress, Rounds - 1);
                {At, _, _} = Less -> smaller(lists:nth(At, Candidates), Less, Wrong, From + At - 1, true, Rounds - 1)
            end
    end.

%% The first candidate that still comes out differently: its place, the finding and what was expected.
wrong(Candidates, Seed, Wanted, Engine, Options) ->
    Made = lists:append([
        try
            {ok, Module, Beam} = compiled(list_to_atom("fuzz_candidate_" ++ integer_to_list(At)), Forms, Seed),
            Exported = [F || {attribute, _, export, Fs} <- Forms, {F, _} <- Fs],
            expected(Module, Beam, [Call || {F, _} = Call <- Wanted, lists:member(F, Exported)])
        catch
            error:_ -> []
        end
        || {At, Forms} <- lists:zip(lists:seq(1, length(Candidates)), Candidates)
    ]),
    Source = fun(Module) -> lists:nth(candidate(Module), Candidates) end,
    Findings = case Made of [] -> []; _ -> run(Engine, Made, Options) end,
    case lists:dropwhile(fun(Finding) -> alone(Source, Finding) end, Findings) of
        [{Module, Function, Arguments, _} = Finding | _] ->
            {_, _, Calls} = lists:keyfind(Module, 1, Made),
            {candidate(Module), Finding, proplists:get_value(Arguments, proplists:get_value(Function, Calls, []))};
        [] -> none
    end.

candidate(Module) -> "fuzz_candidate_" ++ At = atom_to_list(Module), list_to_integer(At).

%% Functions left out, then smaller and smaller parts.
variants(Forms) ->
    Names = [F || {function, _, F, _, _} <- Forms],
    [only(Names -- [F], Forms) || F <- Names, length(Names) > 1] ++ [
        Before ++ [{function, L, F, A, Clauses1} | After]
        || {Before, {function, L, F, A, Clauses}, After} <- splits(Forms), Clauses1 <- parts(Clauses)
    ].

splits(List) -> [begin {Before, [X | After]} = lists:split(N, List), {Before, X, After} end || N <- lists:seq(0, length(List) - 1)].

parts(List) when is_list(List), List =/= [], is_tuple(hd(List)) ->
    [Before ++ After || {Before, _, After} <- splits(List), length(List) > 1] ++
        [Before ++ [X1 | After] || {Before, X, After} <- splits(List), X1 <- parts(X)];
parts([List]) when is_list(List) -> [[L] || L <- parts(List)];
parts(Node) when is_tuple(Node), tuple_size(Node) > 2, is_atom(element(1, Node)) ->
    Simple = [{atom, 1, ok}, {integer, 1, 0}, {nil, 1}],
    Instead = case lists:member(element(1, Node), [clause, atom, integer, nil, var, bin_element, map_field_assoc, map_field_exact, generate, b_generate, record_field, op]) of
        true when element(1, Node) =/= op -> [];
        _ -> [Child || Child <- children(Node)] ++ Simple
    end,
    Instead ++ [setelement(N, Node, Part) || N <- lists:seq(3, tuple_size(Node)), Part <- parts(element(N, Node))];
parts(_) -> [].

%% Expressions directly inside; of clauses, what their bodies end with.
children(Node) -> lists:flatmap(fun child/1, tl(tl(tuple_to_list(Node)))).
child({clause, _, _, _, Body}) -> [lists:last(Body)];
child({clauses, Clauses}) -> child(Clauses);
child(Tuple) when is_tuple(Tuple), is_atom(element(1, Tuple)), tuple_size(Tuple) > 1 -> [Tuple];
child([{_, _} | _]) -> [];
child([_ | _] = List) -> lists:flatmap(fun child/1, List);
child(_) -> [].
