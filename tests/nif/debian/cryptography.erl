%% OTP's crypto: digests, ciphers, keys, signatures, contexts behind resources, errors.
-module(cryptography).
-export([main/0]).

main() ->
    [io:format("~p ~p~n", [Type, crypto:hash(Type, <<"abc">>)]) || Type <- [md5, sha, sha256, sha512, sha3_256, blake2b]],
    io:format("~p~n", [crypto:supports()]),
    io:format("~p~n", [byte_size(crypto:strong_rand_bytes(16))]),
    Key = <<1:128>>,
    [cipher(Cipher, binary:part(<<1:256>>, 32 - KeySize, KeySize), <<0:(IvSize * 8)>>)
     || {Cipher, KeySize, IvSize} <- [{aes_128_ctr, 16, 16}, {aes_256_cbc, 32, 16}, {chacha20, 32, 16}]],
    {Encrypted, Tag} = crypto:crypto_one_time_aead(aes_128_gcm, Key, <<0:96>>, <<"text">>, <<"aad">>, true),
    io:format("~p ~p~n", [{Encrypted, Tag}, crypto:crypto_one_time_aead(aes_128_gcm, Key, <<0:96>>, Encrypted, <<"aad">>, Tag, false)]),
    io:format("~p~n", [[crypto:mac(hmac, Type, Key, <<"data">>) || Type <- [sha, sha256]]]),
    io:format("~p~n", [crypto:mac(cmac, aes_128_cbc, Key, <<"data">>)]),
    [begin
        {Public, Private} = crypto:generate_key(ecdh, Curve),
        {Public2, Private2} = crypto:generate_key(ecdh, Curve),
        io:format("~p~n", [crypto:compute_key(ecdh, Public2, Private, Curve) =:= crypto:compute_key(ecdh, Public, Private2, Curve)])
     end || Curve <- [secp256r1, secp384r1, x25519]],
    {RsaPublic, RsaPrivate} = crypto:generate_key(rsa, {2048, 65537}),
    Signature = crypto:sign(rsa, sha256, <<"message">>, RsaPrivate),
    io:format("~p~n", [[crypto:verify(rsa, sha256, Text, Signature, RsaPublic) || Text <- [<<"message">>, <<"other">>]]]),
    Secret = crypto:public_encrypt(rsa, <<"secret">>, RsaPublic, [{rsa_padding, rsa_pkcs1_oaep_padding}]),
    io:format("~p~n", [crypto:private_decrypt(rsa, Secret, RsaPrivate, [{rsa_padding, rsa_pkcs1_oaep_padding}])]),
    {EdPublic, EdPrivate} = crypto:generate_key(eddsa, ed25519),
    io:format("~p~n", [crypto:verify(eddsa, none, <<"m">>, crypto:sign(eddsa, none, <<"m">>, [EdPrivate, ed25519]), [EdPublic, ed25519])]),
    io:format("~p~n", [[crypto:bytes_to_integer(crypto:mod_pow(3, 1000, 1 bsl 100)), crypto:exor(<<1, 2>>, <<3, 4>>)]]),
    contexts(),
    io:format("~p~n", [crypto:hash(sha, binary:copy(<<"0123456789">>, 1000000))]),
    [io:format("~p~n", [failure(Fun)]) || Fun <- [fun() -> crypto:hash(nohash, <<>>) end, fun() -> crypto:hash(sha, not_data) end,
                                                 fun() -> crypto:crypto_one_time(aes_128_ctr, <<1>>, <<0:128>>, <<>>, true) end,
                                                 fun() -> crypto:generate_key(ecdh, nocurve) end]].

cipher(Cipher, Key, Iv) ->
    Encrypted = crypto:crypto_one_time(Cipher, Key, Iv, <<"sixteen bytes ok">>, true),
    io:format("~p ~p ~p~n", [Cipher, Encrypted, crypto:crypto_one_time(Cipher, Key, Iv, Encrypted, false)]).

contexts() ->
    Context = lists:foldl(fun(Part, Context) -> crypto:hash_update(Context, Part) end, crypto:hash_init(sha256), [<<"a">>, [<<"b">>, $c], []]),
    io:format("~p ~p~n", [is_reference(Context), crypto:hash_final(Context)]),
    Contexts = [crypto:hash_init(md5) || _ <- lists:seq(1, 2000)],
    io:format("~p~n", [erlang:phash2([crypto:hash_final(crypto:hash_update(C, <<"x">>)) || C <- Contexts])]),
    State = crypto:crypto_init(aes_128_ctr, <<1:128>>, <<0:128>>, true),
    io:format("~p~n", [[crypto:crypto_update(State, <<"part">>), crypto:crypto_update(State, <<"rest">>)]]),
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), [crypto:hash(sha256, <<N:32>>) || N <- lists:seq(1, 2000)]} end) || _ <- lists:seq(1, 8)],
    io:format("~p~n", [length(lists:usort([receive {Pid, Hashes} -> Hashes end || Pid <- Pids]))]).

failure(Fun) ->
    try Fun() catch Class:Reason -> {Class, Reason} end.
