%% edoc writes the pages of kernel's modules; syntax_tools reads, comments and prints the same files.
-module(edoc_kernel).
-export([prepare/1, main/1]).

prepare(_) ->
    case real:sources(kernel) of
        [_ | _] -> ok;
        [] -> {missing, "the sources of kernel are not there (erlang-src)"}
    end.

%% The modules that need no header from elsewhere.
main(Folder) ->
    Pages = real:folder(Folder, "pages"),
    Done = [F || F <- real:sources(kernel), page(F, Pages)],
    true = length(Done) > 60,
    lists:foreach(fun print/1, Done).

print(File) ->
    {ok, Forms} = epp_dodger:parse_file(File),
    Tree = erl_recomment:recomment_forms(Forms, erl_comment_scan:file(File)),
    true = length(erl_prettypr:format(Tree)) > 100.

page(File, Pages) ->
    try
        {Module, Page} = edoc:get_doc(File, [{preprocess, true}, {includes, [filename:join(code:lib_dir(kernel), "include")]}]),
        Text = edoc:layout(Page),
        ok = file:write_file(filename:join(Pages, atom_to_list(Module) ++ ".html"), unicode:characters_to_binary(Text)),
        true
    catch
        exit:error -> false
    end.
