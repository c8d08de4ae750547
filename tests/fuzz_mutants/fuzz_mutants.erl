%% Modules of OTP and Elixir, changed at random: instruction by instruction and byte by byte. What the machine still loads
%% is run (mutant_run) in every engine, each in a process of the operating system of its own. The machine has to live, its
%% processes have to be killable and its memory bounded, and the engines have to agree.
%%
%% main(["--machine", Program, "--engines", "a,b", "--seconds", N, "--seed", S, "--keep", Folder | Folders]) takes modules
%% from the folders; it goes on for so many seconds. Each finding is made smaller and kept: what is left is loaded by
%% swarmrt erl -pa BEAMS -eval 'mutant_run:main(["FINDING", "MODULE", "0"])'.
-module(fuzz_mutants).
-export([main/1]).

-record(options, {machine, engines, seconds = 60, seed = 1, keep, folder, modules}).

%% Functions with mutations in a module that is run, and attempts to find them.
-define(FUNCTIONS_MAX, 12).
-define(ATTEMPTS, 60).
-define(RUN_SECONDS, 60).
%% Instructions of a module: machine code is made of all of them.
-define(INSTRUCTIONS_MAX, 4000).

main(Arguments) ->
    logger:set_primary_config(level, none),
    Options = options(Arguments, #options{}),
    Folder = string:trim(os:cmd("mktemp -d")),
    ok = filelib:ensure_dir(filename:join(Options#options.keep, "x")),
    Seed = Options#options.seed,
    rand:seed(exsss, {Seed, Seed, Seed}),
    ets:new(counts, [named_table]),
    [ets:insert(counts, {Key, 0}) || Key <- [mutants, accepted, modules, calls, findings]],
    rounds(Options#options{folder = Folder}, erlang:monotonic_time(second)),
    file:del_dir_r(Folder),
    [{_, Mutants}, {_, Accepted}, {_, Modules}, {_, Calls}, {_, Findings}] = [hd(ets:lookup(counts, Key)) || Key <- [mutants, accepted, modules, calls, findings]],
    io:format("~b mutants, ~b accepted; ~b modules with ~b calls run (seed ~b): ~b findings~n", [Mutants, Accepted, Modules, Calls, Seed, Findings]),
    halt(min(Findings, 1)).

count(Key, More) -> ets:update_counter(counts, Key, More).

options(["--machine", P | T], O) -> options(T, O#options{machine = P});
options(["--engines", E | T], O) -> options(T, O#options{engines = string:lexemes(E, ",")});
options(["--seconds", N | T], O) -> options(T, O#options{seconds = list_to_integer(N)});
options(["--seed", S | T], O) -> options(T, O#options{seed = list_to_integer(S)});
options(["--keep", F | T], O) -> options(T, O#options{keep = F});
options(Folders, O) ->
    Files = lists:usort(lists:append([filelib:wildcard(Folder ++ "/**/*.beam") || Folder <- Folders])),
    O#options{modules = list_to_tuple(Files)}.

rounds(#options{seconds = Seconds} = Options, Started) ->
    case erlang:monotonic_time(second) - Started >= Seconds of
        true -> ok;
        false ->
            one(Options),
            rounds(Options, Started)
    end.

one(#options{modules = Modules} = Options) ->
    File = element(rand:uniform(tuple_size(Modules)), Modules),
    {ok, Bytes} = file:read_file(File),
    case harmless(Bytes) andalso catch mutant_code:open(Bytes) of
        Beam when is_tuple(Beam), element(1, Beam) =:= beam ->
            mutant_code:instructions_count(Beam) =< ?INSTRUCTIONS_MAX andalso mutate(File, Beam, Options);
        _ ->
            ok
    end.

%% Whether its functions can be called with anything: it calls nothing that leaves the machine or changes it.
harmless(Bytes) ->
    case beam_lib:chunks(Bytes, [imports]) of
        {ok, {_, [{imports, Imports}]}} -> not lists:any(fun harms/1, Imports);
        _ -> false
    end.

harms({erlang, Function, _}) ->
    lists:member(Function, [halt, open_port, system_flag, load_module, delete_module, purge_module, register, unregister, trace, trace_pattern, set_cookie,
        system_monitor, system_profile, processes, ports, port_command, port_control, port_connect, port_close, disconnect_node, spawn_link, suspend_process,
        process_flag, group_leader, whereis, send, send_nosuspend, list_to_pid, load_nif, yield, hibernate, finish_loading, prepare_loading, now, setnode, start_timer,
        send_after, monitor_node, memory, statistics, process_info, garbage_collect,
        %% What they answer differs from run to run.
        universaltime, localtime, timestamp, system_time, monotonic_time, unique_integer, date, time, time_offset, system_info]);
harms({Module, _, _}) ->
    lists:member(Module, [file, os, init, code, prim_file, erl_prim_loader, erts_internal, erts_debug, prim_inet, prim_socket, inet, socket, gen_tcp, gen_udp, net_kernel, application,
        application_controller, heart, erl_eval, compile, io, user, user_drv, shell, rpc, erpc, global, mnesia, dets, disk_log, file_io_server, filelib, file_sorter,
        logger, error_logger, supervisor, gen_server, gen, gen_event, gen_statem, proc_lib, sys, timer, dbg, erl_tar, zip, httpc, ssh, ssl, crypto, persistent_term, ets, zlib,
        prim_zip, prim_eval, calendar, rand, random, erl_ddll, epp, erl_scan, erl_ddll, seq_trace, erl_boot_server, erl_distribution, auth, ram_file, 'Elixir.File', 'Elixir.System', 'Elixir.Code', 'Elixir.IO',
        'Elixir.Port', 'Elixir.Process', 'Elixir.GenServer', 'Elixir.Agent', 'Elixir.Application', 'Elixir.Node', 'Elixir.Mix', 'Elixir.Module', wx, wxe_util, wx_object, odbc,
        et_wx_viewer, eprof, fprof, cprof, tprof, trace, lcnt, instrument, msacc, erl_posix_msg, escript, c, beam_lib, digraph, user_sup, kernel, standard_error, group, edlin]).

%% ---- Mutations ----

mutate(File, Original, Options) ->
    Name = "fuzz_mutant_" ++ filename:basename(File, ".beam"),
    Beam = mutant_code:rename(mutant_code:export_all(Original), unicode:characters_to_binary(Name)),
    Plain = mutant_code:close(Beam),
    %% What is not accepted to begin with teaches nothing.
    case accepts(Name, Plain) of
        true ->
            Functions = list_to_tuple([Function || {_, Called, _, _, First, Last} = Function <- mutant_code:functions(Beam), Last > First, Called =/= module_info]),
            Attempts = case Functions of {} -> 0; _ -> ?ATTEMPTS end,
            Changed = attempts(Attempts, Name, Beam, Functions, #{}),
            maps:size(Changed) > 0 andalso run(#{file => File, name => Name, beam => Beam}, Changed, Options),
            lists:foreach(fun(_) -> bytes(File, Name, Beam, Plain, Options) end, lists:seq(1, 10));
        false ->
            ok
    end.

accepts(Name, Beam) ->
    count(mutants, 1),
    case erts_internal:prepare_loading(list_to_atom(Name), Beam) of
        {error, _} -> false;
        _ -> count(accepted, 1), true
    end.

%% Changes one function after the other, and keeps what the loader accepts: the edits of each.
attempts(0, _, _, _, Changed) -> Changed;
attempts(_, _, _, _, Changed) when map_size(Changed) >= ?FUNCTIONS_MAX -> Changed;
attempts(Left, Name, Beam, Functions, Changed) ->
    {_, Function, Arity, _, First, Last} = element(rand:uniform(tuple_size(Functions)), Functions),
    Edits = maps:from_list([edit(Beam, First, Last) || _ <- lists:seq(1, 1 + rand:uniform(3) div 2)]),
    case not is_map_key({Function, Arity}, Changed) andalso accepts(Name, mutant_code:close(Beam, Edits)) of
        true -> attempts(Left - 1, Name, Beam, Functions, Changed#{{Function, Arity} => Edits});
        false -> attempts(Left - 1, Name, Beam, Functions, Changed)
    end.

%% An instruction of a function, and what takes its place.
edit(Beam, First, Last) ->
    At = First + rand:uniform(Last - First + 1) - 1,
    {Opcode, Operands} = Op = mutant_code:instruction(Beam, At),
    Other = fun() -> mutant_code:instruction(Beam, First + rand:uniform(Last - First + 1) - 1) end,
    New =
        case rand:uniform(16) of
            1 -> [];
            2 -> [Op, Op];
            3 -> [Other(), Op];
            4 -> [Other()];
            5 -> [mutant_code:instruction(Beam, rand:uniform(mutant_code:instructions_count(Beam)) - 1), Op];
            6 -> [{similar(Opcode), Operands}];
            7 ->
                case Other() of
                    {_, Others} when length(Others) =:= length(Operands) -> [{Opcode, Others}];
                    Different -> [Op, Different]
                end;
            _ when Operands =:= [] -> [];
            _ -> [{Opcode, changed(Operands, Other)}]
        end,
    {At, New}.

%% Another instruction with as many operands, often of the same family.
similar(Opcode) ->
    {_, Arity} = beam_opcodes:opname(min(Opcode, 180)),
    Near = Opcode + rand:uniform(7) - 4,
    try beam_opcodes:opname(Near) of
        {_, Arity} -> Near;
        _ -> Opcode
    catch
        _:_ -> Opcode
    end.

changed(Operands, Other) ->
    Chosen = rand:uniform(length(Operands)),
    {Before, [Operand | After]} = lists:split(Chosen - 1, Operands),
    Before ++ [operand(Operand, Other) | After].

operand({list, [_ | _] = Elements}, Other) ->
    case rand:uniform(5) of
        1 -> {list, Elements ++ [lists:nth(rand:uniform(length(Elements)), Elements)]};
        2 -> {list, tl(Elements)};
        _ -> {list, changed(Elements, Other)}
    end;
operand({Tag, [_ | _] = Parts}, Other) -> {Tag, changed(Parts, Other)};
operand({Tag, Number} = Operand, Other) when is_integer(Number) ->
    case rand:uniform(8) of
        1 -> {Tag, rand:uniform(8) - 1};
        2 -> {Tag, max(0, Number - 1)};
        3 -> {Tag, Number + 1};
        4 -> {lists:nth(rand:uniform(7), [u, i, a, x, y, f, fr]), Number};
        5 -> {Tag, 1 bsl rand:uniform(70)};
        6 -> {lists:nth(rand:uniform(2), [x, y]), rand:uniform(4) - 1};
        _ ->
            %% That of another instruction of the function.
            {_, Others} = Other(),
            case [Same || {Kind, _} = Same <- Others, Kind =:= Tag] of
                [] -> Operand;
                Same -> lists:nth(rand:uniform(length(Same)), Same)
            end
    end;
operand(Operand, _) -> Operand.

%% A byte of the file changed; what is loaded is run as it is.
bytes(File, Name, Beam, Plain, Options) ->
    At = 12 + rand:uniform(byte_size(Plain) - 12) - 1,
    <<Before:At/binary, Byte, After/binary>> = Plain,
    Changed = <<Before/binary, (Byte bxor (1 bsl (rand:uniform(8) - 1))), After/binary>>,
    case accepts(Name, Changed) of
        true ->
            Functions = [{Function, Arity} || {_, Function, Arity, _, _, _} <- mutant_code:functions(Beam), Function =/= module_info],
            Some = lists:sublist([Function || {_, Function} <- lists:sort([{rand:uniform(), Function} || Function <- Functions])], ?FUNCTIONS_MAX),
            %% Most bytes of a file that may change without its being refused do not matter.
            rand:uniform(4) =:= 1 andalso run(#{file => File, name => Name, bytes => Changed}, maps:from_list([{Function, #{}} || Function <- Some]), Options);
        false -> ok
    end.

%% ---- Runs ----

%% Runs the module with these functions changed in every engine, and looks at what came out.
run(Mutant, Changed, #options{engines = Engines} = Options) ->
    count(modules, 1),
    Outcomes = [{Engine, outcomes(Engine, Mutant, Changed, Options)} || Engine <- Engines],
    [count(calls, length(maps:keys(Told))) || {_, {_, Told}} <- Outcomes],
    case finding(Outcomes) of
        none ->
            ok;
        {{different, _, _, _} = What, Function} ->
            %% Unless the first engine answers differently from time to time.
            [{First, {_, One}} | _] = Outcomes,
            {_, Again} = outcomes(First, Mutant, Changed, Options),
            Again =:= One andalso found(What, Function, Mutant, Changed, Options);
        {What, Function} ->
            found(What, Function, Mutant, Changed, Options)
    end.

%% The first thing that must not be, and the function that was called.
finding(Outcomes) ->
    Bad = [{{Engine, Why}, Function} || {Engine, {{bad, Why, Function}, _}} <- Outcomes],
    case Bad of
        [First | _] -> First;
        [] ->
            [{_, {_, One}} | Others] = Outcomes,
            Different = [{{different, Engine, maps:get(Call, One), Outcome}, element(1, Call)} || {Engine, {_, Told}} <- Others, {Call, Outcome} <- maps:to_list(Told),
                is_map_key(Call, One), maps:get(Call, One) =/= Outcome],
            case Different of
                [] -> none;
                [First | _] -> First
            end
    end.

outcomes(Engine, #{name := Name} = Mutant, Changed, #options{machine = Machine, folder = Folder}) ->
    File = filename:join(Folder, Name),
    write(File, Mutant, Changed),
    Functions = lists:sort(maps:keys(Changed)),
    Eval = lists:flatten(io_lib:format("mutant_run:main([~p, ~p, \"0\"])", [File, Name])),
    Arguments = ["--engine=" ++ engine(Engine), "erl", "-noinput", "-pa", filename:dirname(code:which(?MODULE)), "-eval", Eval],
    Port = open_port({spawn_executable, Machine}, [{args, Arguments}, {line, 4000}, exit_status, stderr_to_stdout, hide, in]),
    told(Port, list_to_tuple(Functions), none, #{}, [], deadline()).

engine("jit") -> "jit:fuzz_mutant_";
engine(Engine) -> Engine.

write(File, Mutant, Changed) ->
    ok = file:write_file(File ++ ".beam", assembled(Mutant, Changed)),
    ok = file:write_file(File ++ ".calls", term_to_binary(lists:sort(maps:keys(Changed)))).

assembled(#{bytes := Bytes}, _) -> Bytes;
assembled(#{beam := Beam}, Changed) -> mutant_code:close(Beam, maps:fold(fun(_, Edits, All) -> maps:merge(All, Edits) end, #{}, Changed)).

deadline() -> erlang:monotonic_time(millisecond) + ?RUN_SECONDS * 1000.

told(Port, Functions, At, Told, Text, Deadline) ->
    %% The number of calls of each function is mutant_run's.
    Function = fun(Call) -> element(Call div 5 + 1, Functions) end,
    Called = if is_integer(At) -> Function(At); true -> none end,
    receive
        {Port, {data, {_, Line}}} ->
            case catch parsed(Line) of
                {call, Call} -> told(Port, Functions, Call, Told, Text, Deadline);
                {is, Call, Outcome} -> told(Port, Functions, At, Told#{{Function(Call), Call} => Outcome}, Text, Deadline);
                {done} -> told(Port, Functions, done, Told, Text, Deadline);
                {refused} -> told(Port, Functions, At, Told, Text, Deadline);
                {unkillable, Call} -> stop(Port, {bad, unkillable, Function(Call)}, Told);
                {memory, Call, Bytes} -> stop(Port, {bad, {memory, Bytes}, Function(Call)}, Told);
                _ -> told(Port, Functions, At, Told, [Line | Text], Deadline)
            end;
        {Port, {exit_status, 0}} when At =:= done -> {fine, Told};
        {Port, {exit_status, 0}} -> {{bad, {ended, tail(Text)}, Called}, Told};
        {Port, {exit_status, Status}} -> {{bad, {status, Status, tail(Text)}, Called}, Told}
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        stop(Port, {bad, hangs, Called}, Told)
    end.

parsed(Line) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

tail(Text) -> [lists:sublist(Line, 200) || Line <- lists:sublist(lists:reverse(Text), 12)].

stop(Port, Bad, Told) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    os:cmd("kill -9 " ++ integer_to_list(Pid)),
    receive {Port, {exit_status, _}} -> ok after 5000 -> ok end,
    {Bad, Told}.

%% ---- Findings ----

found(What, Function, #{name := Name} = Mutant, Changed, #options{keep = Keep} = Options) ->
    Number = count(findings, 1),
    Smaller = smaller(What, Function, Mutant, Changed, Options),
    File = filename:join(Keep, lists:flatten(io_lib:format("~s-~b-~b", [Name, Options#options.seed, Number]))),
    write(File, Mutant, Smaller),
    Original =
        case Mutant of
            #{beam := Beam} -> fun(At) -> mutant_code:instruction(Beam, At) end;
            _ -> fun(_) -> none end
        end,
    Edits = [{F, [{At, Original(At), New} || {At, New} <- maps:to_list(E)]} || {F, E} <- maps:to_list(Smaller)],
    Text = io_lib:format("~p~n~p~n~p~n", [What, maps:get(file, Mutant), Edits]),
    ok = file:write_file(File ++ ".txt", unicode:characters_to_binary(Text)),
    io:format("~ts~nkept as ~ts~n", [Text, File]).

%% Only the function that shows it, then one edit after the other taken back.
smaller(What, Function, Mutant, Changed, Options) ->
    Alone = maps:with([Function], Changed),
    case Alone =/= #{} andalso shows(What, Mutant, Alone, Options) of
        true ->
            [{Key, Edits}] = maps:to_list(Alone),
            Fewer = lists:foldl(
                fun(At, Left) ->
                    Without = maps:remove(At, Left),
                    case Without =/= #{} andalso shows(What, Mutant, #{Key => Without}, Options) of
                        true -> Without;
                        false -> Left
                    end
                end,
                Edits,
                maps:keys(Edits)
            ),
            #{Key => Fewer};
        false ->
            Changed
    end.

shows(What, Mutant, Changed, #options{engines = [First | _]} = Options) ->
    Engines =
        case What of
            {different, Other, _, _} -> [First, Other];
            {Other, _} -> [Other]
        end,
    finding([{Engine, outcomes(Engine, Mutant, Changed, Options)} || Engine <- Engines]) =/= none.
