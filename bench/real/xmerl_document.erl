%% xmerl reads a document of 10 MB, searches it and writes it again.
-module(xmerl_document).
-export([prepare/1, main/1]).
-define(BYTES, 10_000_000).

prepare(Folder) ->
    {ok, File} = file:open(path(Folder), [write, raw, delayed_write]),
    ok = file:write(File, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<library>\n"),
    books(File, 1, 0),
    ok = file:write(File, "</library>\n"),
    ok = file:close(File).

books(_, _, Written) when Written >= ?BYTES -> ok;
books(File, N, Written) ->
    Book = book(N),
    ok = file:write(File, Book),
    books(File, N + 1, Written + iolist_size(Book)).

book(N) ->
    io_lib:format(
        "  <book id=\"b~b\" year=\"~b\" lang=\"~s\">\n"
        "    <title>The ~s &amp; the ~s, part ~b</title>\n"
        "    <author><first>~s</first><last>~s</last></author>\n"
        "    <price currency=\"EUR\">~b.~2..0b</price>\n"
        "    <!-- shelf ~b -->\n"
        "    <abstract><![CDATA[~s < ~s]]> ~s</abstract>\n"
        "  </book>\n",
        [
            N,
            1900 + N rem 120,
            element(1 + N rem 3, {"en", "de", "fr"}),
            word(N),
            word(N * 7),
            N rem 9,
            word(N * 3),
            word(N * 5),
            N rem 90 + 5,
            N rem 100,
            N rem 40,
            word(N * 11),
            word(N * 13),
            lists:join($\s, [word(N * I) || I <- lists:seq(1, 20)])
        ]
    ).

word(N) ->
    Words = {"sea", "mountain", "letter", "winter", "garden", "clock", "river", "shadow", "engine", "island", "bridge"},
    element(1 + N rem tuple_size(Words), Words).

main(Folder) ->
    {Document, _} = xmerl_scan:file(path(Folder), [{space, normalize}]),
    Books = xmerl_xpath:string("/library/book", Document),
    true = length(Books) > 10_000,
    German = xmerl_xpath:string("/library/book[@lang='de']/title", Document),
    true = length(German) * 3 > length(Books) - 3,
    Text = xmerl:export([Document], xmerl_xml),
    true = iolist_size(Text) > ?BYTES div 2,
    ok.

path(Folder) -> filename:join(Folder, "library.xml").
