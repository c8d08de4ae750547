%% rebar3 compiles a project of three applications: copies of OTP's edoc, syntax_tools and mnesia.
-module(rebar3_project).
-export([prepare/1, main/1]).
-define(APPLICATIONS, [edoc, syntax_tools, mnesia]).

prepare(Folder) ->
    case {os:find_executable("rebar3"), [A || A <- ?APPLICATIONS, real:sources(A) =:= []]} of
        {false, _} -> {missing, "rebar3 is not there"};
        {_, [_ | _] = Without} -> {missing, io_lib:format("there are no sources of ~p", [Without])};
        {Escript, []} ->
            {ok, Parts} = escript:extract(Escript, []),
            {archive, Archive} = lists:keyfind(archive, 1, Parts),
            {ok, _} = zip:unzip(Archive, [{cwd, real:folder(Folder, "rebar3")}]),
            Project = real:folder(Folder, "project"),
            ok = file:write_file(filename:join(Project, "rebar.config"), "{erl_opts, [debug_info]}.\n"),
            lists:foreach(fun(Application) -> copy(Application, Project) end, ?APPLICATIONS)
    end.

main(Folder) ->
    ok = code:add_pathsa(filelib:wildcard(filename:join([Folder, "rebar3", "*", "ebin"]))),
    Project = filename:join(Folder, "project"),
    _ = file:del_dir_r(filename:join(Project, "_build")),
    ok = file:set_cwd(Project),
    {ok, _} = rebar3:run(["compile"]),
    ok.

copy(Application, Project) ->
    From = code:lib_dir(Application),
    To = filename:join([Project, "apps", Application]),
    Files = filelib:wildcard("{src,include}/*.{erl,hrl,yrl}", From),
    % The sources need not have the resource file.
    Name = atom_to_list(Application) ++ ".app",
    Pairs = [{File, File} || File <- Files] ++ [{filename:join("ebin", Name), filename:join("src", Name ++ ".src")}],
    lists:foreach(
        fun({Source, Target}) ->
            ok = filelib:ensure_dir(filename:join(To, Target)),
            {ok, _} = file:copy(filename:join(From, Source), filename:join(To, Target))
        end,
        Pairs).
