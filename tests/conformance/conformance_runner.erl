%% Runs one of OTP's own test suites, case by case, and prints a line for each: the same under any runtime.
%%
%% conformance_runner:main([Suite, Folder]) expects Suite.beam on the path and its data below Folder.
%% Where SWARMRT_CASES names groups and cases, with commas, only those run.
-module(conformance_runner).
-export([main/1]).

-define(CASE_MS, 60000).
-define(PAUSE_MS, 300).

main([Name, Folder]) ->
    Suite = list_to_atom(Name),
    %% The time limit of a case holds whatever the priorities of its processes.
    process_flag(priority, max),
    %% Cases take a port for their terms from erlang:ports(), where OTP always has one of its own.
    open_port({spawn, "cat"}, []),
    {module, Suite} = code:ensure_loaded(Suite),
    Private = filename:join(["/tmp", "swarmrt-conformance-" ++ os:getpid(), ""]) ++ "/",
    ok = filelib:ensure_dir(Private),
    {ok, Here} = file:get_cwd(),
    Config = [{data_dir, filename:join(Folder, Name ++ "_data") ++ "/"}, {priv_dir, Private}, {run_dir, Here},
        {nodes, []}, {nodenames, nodenames()}, {wanted, wanted()}],
    case optional(Suite, init_per_suite, [Config], Config) of
        {ok, Config1} ->
            run(Suite, Suite:all(), groups(Suite), Config1),
            optional(Suite, end_per_suite, [Config1], ok);
        Other ->
            report(init_per_suite, Other)
    end,
    os:cmd("rm -rf " ++ Private),
    ok.

groups(Suite) ->
    {module, Suite} = code:ensure_loaded(Suite),
    case erlang:function_exported(Suite, groups, 0) of true -> Suite:groups(); false -> [] end.

run(Suite, Cases, Groups, Config) ->
    Wanted = proplists:get_value(wanted, Config),
    [one(Suite, Case, Groups, Config) || Case <- lists:flatten(Cases), is_wanted(Case, Groups, Wanted)].

%% Names for the nodes that suites start which have OTP's test server choose them (mnesia's).
nodenames() when node() =:= nonode@nohost -> [];
nodenames() ->
    [Name, Host] = string:lexemes(atom_to_list(node()), "@"),
    [list_to_atom(Name ++ "_" ++ Other ++ "@" ++ Host) || Other <- ["one", "two"]].

wanted() ->
    case os:getenv("SWARMRT_CASES") of
        Unset when Unset =:= false; Unset =:= "" -> all;
        Names -> [list_to_atom(Name) || Name <- string:lexemes(Names, ",")]
    end.

%% Whether a case or group is asked for, or something in the group.
is_wanted(_, _, all) -> true;
is_wanted(Case, _, Wanted) when is_atom(Case) -> lists:member(Case, Wanted);
is_wanted({testcase, Case, _}, _, Wanted) -> lists:member(Case, Wanted);
is_wanted({Other, all}, _, Wanted) -> lists:any(fun(Case) -> is_wanted(Case, groups(Other), Wanted) end, lists:flatten(Other:all()));
is_wanted(Group, Groups, Wanted) ->
    Name = element(2, Group),
    Inside = case Group of
        {Name, _, Cases} -> Cases;
        _ -> cases_of(lists:keyfind(Name, 1, Groups))
    end,
    lists:member(Name, Wanted) orelse lists:any(fun(Case) -> is_wanted(Case, Groups, Wanted) end, lists:flatten(Inside)).

cases_of({_, _, Cases}) -> Cases;
cases_of({_, Cases}) -> Cases;
cases_of(false) -> [].

one(Suite, {group, Name}, Groups, Config) -> group(Suite, Name, Groups, Config);
one(Suite, {group, Name, _}, Groups, Config) -> group(Suite, Name, Groups, Config);
one(Suite, {testcase, Case, _}, Groups, Config) -> one(Suite, Case, Groups, Config);
one(Suite, {Name, Properties, Cases}, Groups, Config) when is_list(Cases) -> in_group(Suite, Name, Properties, Cases, Groups, Config);
one(_, {Other, all}, _, Config) ->
    run(Other, Other:all(), groups(Other), Config);
one(Suite, Case, _, Config) ->
    %% Cases leave the runtime in a folder that they delete.
    ok = file:set_cwd(proplists:get_value(run_dir, Config)),
    report(Case, run_case(Suite, Case, Config)),
    %% What the case started may still be ending, under its registered name.
    timer:sleep(?PAUSE_MS).

group(Suite, Name, Groups, Config) ->
    case lists:keyfind(Name, 1, Groups) of
        {Name, Properties, Cases} -> in_group(Suite, Name, Properties, Cases, Groups, Config);
        {Name, Cases} -> in_group(Suite, Name, [], Cases, Groups, Config);
        false -> report(Name, {failed, no_such_group})
    end.

in_group(Suite, Name, Properties, Cases, Groups, Outer) ->
    Around = proplists:get_value(tc_group_path, Outer, []),
    Above = case proplists:get_value(tc_group_properties, Outer) of undefined -> Around; Properties1 -> [Properties1 | Around] end,
    Wanted = proplists:get_value(wanted, Outer),
    Wanted1 = case Wanted =/= all andalso lists:member(Name, Wanted) of true -> all; false -> Wanted end,
    Config = [{tc_group_properties, [{name, Name} | Properties]}, {tc_group_path, Above}, {wanted, Wanted1}
        | lists:foldl(fun proplists:delete/2, Outer, [tc_group_properties, tc_group_path, wanted])],
    case optional(Suite, init_per_group, [Name, Config], Config) of
        {ok, Config1} ->
            run(Suite, Cases, Groups, Config1),
            optional(Suite, end_per_group, [Name, Config1], ok);
        {skipped, _} = Skipped -> [report(Case, Skipped) || Case <- Cases, is_atom(Case)];
        Failed -> [report(Case, Failed) || Case <- Cases, is_atom(Case)]
    end.

%% A callback that a suite need not have, in a process that lives on for what the callback starts.
optional(Suite, Function, Args, Default) ->
    case erlang:function_exported(Suite, Function, length(Args)) of
        false -> {ok, Default};
        true ->
            try apply(Suite, Function, Args) of
                {skip, Why} -> {skipped, Why};
                {skipped, Why} -> {skipped, Why};
                {fail, Why} -> {failed, Why};
                Value -> {ok, Value}
            catch
                throw:{skip, Why} -> {skipped, Why};
                Class:Reason:Stack -> {failed, {Class, Reason, Stack}}
            end
    end.

run_case(Suite, Case, Config) ->
    Leader = group_leader(),
    %% Linked as by OTP's test server: cases look at who monitors them.
    process_flag(trap_exit, true),
    Pid = spawn_link(fun() ->
        process_flag(priority, normal),
        group_leader(Leader, self()),
        exit({result, in_case(Suite, Case, Config)})
    end),
    receive
        {'EXIT', Pid, {result, Result}} -> Result;
        {'EXIT', Pid, Reason} -> {failed, {died, Reason}}
    after ?CASE_MS ->
        Where = process_info(Pid, current_stacktrace),
        exit(Pid, kill),
        receive {'EXIT', Pid, _} -> ok end,
        {failed, {timeout, Where}}
    end.

in_case(Suite, Case, Config) ->
    case optional(Suite, init_per_testcase, [Case, Config], Config) of
        {ok, Config1} ->
            Result =
                try Suite:Case(Config1) of
                    {skip, Why} -> {skipped, Why};
                    {skipped, Why} -> {skipped, Why};
                    {fail, Why} -> {failed, Why};
                    _ -> ok
                catch
                    throw:{skip, Why} -> {skipped, Why};
                    exit:{test_case_failed, Why} -> {failed, Why};
                    Class:Reason:Stack -> {failed, {Class, Reason, Stack}}
                end,
            optional(Suite, end_per_testcase, [Case, Config1], ok),
            Result;
        Other -> Other
    end.

report(Case, ok) -> io:format("~nCASE ~s passed~n", [Case]);
report(Case, {skipped, Why}) -> io:format("~nCASE ~s skipped ~0tp~n", [Case, Why]);
report(Case, {failed, Why}) -> io:format("~nCASE ~s failed ~0tP~n", [Case, Why, 40]).
