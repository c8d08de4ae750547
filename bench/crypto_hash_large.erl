%% native libraries: SHA-256 of 1 MB.
%% needs: crypto
-module(crypto_hash_large).
-export([main/0]).
main() -> hashes(100, binary:copy(<<"0123456789abcdef">>, 65536)).
hashes(0, _) -> ok;
hashes(N, Data) -> <<_:32/binary>> = crypto:hash(sha256, Data), hashes(N - 1, Data).
