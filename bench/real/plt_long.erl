%% long: dialyzer builds the table of erts, kernel and stdlib.
-module(plt_long).
-export([main/1]).

main(Folder) ->
    Ebins = [filename:join([code:root_dir(), "lib", "erts-" ++ erlang:system_info(version), "ebin"]) | [real:ebin(A) || A <- [kernel, stdlib]]],
    build([E || E <- Ebins, filelib:is_dir(E)], filename:join(Folder, "long.plt")).

build(Ebins, Plt) ->
    _ = dialyzer:run([{analysis_type, plt_build}, {files_rec, Ebins}, {output_plt, Plt}, {warnings, []}]),
    true = filelib:is_regular(Plt),
    ok.
