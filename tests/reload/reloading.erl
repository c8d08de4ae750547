%% What the programs share that load many versions of a module.
-module(reloading).
-export([load/5, wait_for/1]).

%% Loads a version of a module's file: the number of the version stands where 16#12345678 does. `Shared` says at `Latest` which
%% version is there.
load(Module, Version, Beam, Shared, Latest) ->
    {module, Module} = code:load_binary(Module, atom_to_list(Module) ++ ".erl", binary:replace(Beam, <<16#12345678:32>>, <<Version:32>>, [global])),
    atomics:put(Shared, Latest, Version),
    Version = Module:version().

wait_for(Condition) ->
    case Condition() of
        true -> ok;
        false -> erlang:yield(), wait_for(Condition)
    end.
