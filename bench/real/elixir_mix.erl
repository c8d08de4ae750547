%% Elixir's compiler over lib/mix, lib/ex_unit and lib/eex of its own sources.
-module(elixir_mix).
-export([prepare/1, main/1, start/0, compile/2]).

prepare(_) ->
    case {os:getenv("ELIXIR_SOURCES"), filelib:is_dir(elixir())} of
        {Folder, true} when is_list(Folder), Folder =/= "" -> ok;
        {_, true} -> {missing, "the sources of Elixir are not there (ELIXIR_SOURCES)"};
        _ -> {missing, "Elixir is not there"}
    end.

main(Folder) ->
    start(),
    lists:foreach(fun(Library) -> compile(Library, real:folder(Folder, Library)) end, ["eex", "ex_unit", "mix"]).

elixir() -> filename:join([code:root_dir(), "..", "elixir", "lib", "elixir", "ebin"]).

start() ->
    true = code:add_patha(elixir()),
    {ok, _} = application:ensure_all_started(elixir),
    'Elixir.Code':compiler_options(#{ignore_module_conflict => true}).

compile(Library, Out) ->
    Files = filelib:wildcard(filename:join([os:getenv("ELIXIR_SOURCES"), "lib", Library, "lib", "**", "*.ex"])),
    {ok, Modules, _} = 'Elixir.Kernel.ParallelCompiler':compile_to_path([list_to_binary(F) || F <- lists:sort(Files)], list_to_binary(Out)),
    true = Modules =/= [],
    true = code:add_pathz(Out).
