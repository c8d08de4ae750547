%% dialyzer builds the table of one application, parsetools and syntax_tools being among OTP's smaller ones.
-module(plt_small).
-export([main/1]).

main(Folder) ->
    Plt = filename:join(Folder, "small.plt"),
    _ = dialyzer:run([
        {analysis_type, plt_build},
        {files_rec, [real:ebin(parsetools), real:ebin(syntax_tools)]},
        {output_plt, Plt},
        {warnings, []}
    ]),
    true = filelib:is_regular(Plt),
    ok.
