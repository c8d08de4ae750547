%% Elixir's compiler over lib/elixir/lib of its own sources.
-module(elixir_core).
-export([prepare/1, main/1]).

prepare(Folder) -> elixir_mix:prepare(Folder).

main(Folder) ->
    elixir_mix:start(),
    elixir_mix:compile("elixir", real:folder(Folder, "elixir")),
    ok.
