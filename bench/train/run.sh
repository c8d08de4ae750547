#!/usr/bin/env bash
# What script/build --guided counts: the small programs of bench/, and OTP's compiler over some of its own modules with an empty
# and with a filled code cache. None of the programs of bench/real, which are measured.
#
#   bench/train/run.sh PROGRAM
set -euo pipefail
program=$(realpath "$1")
bench=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/beams" "$folder/cache"
# Those with libraries of their own are left out, and one that only takes long.
mapfile -t sources < <(ls "$bench"/*.erl | grep -v -e /nif_ -e /jiffy_ -e /compile_large)
erlc -o "$folder/beams" "${sources[@]}"

run() { # CACHE CODE [ARGUMENT…]
    SWARMRT_CODE_CACHE=$1 "$program" erl -noshell -pa "$folder/beams" -eval "$2, halt()." -extra "${@:3}" >/dev/null
}

for source in "${sources[@]}"; do
    run off "$(basename "$source" .erl):main()"
done
compiler=$(erl -noshell -eval 'io:put_chars(code:lib_dir(compiler)), halt().')
mapfile -t modules < <(ls "$compiler"/src/*.erl | head -n 30)
for _ in empty filled; do
    # Its makefile gives the macro.
    run "$folder/cache" \
        '[{ok, _, _} = compile:file(F, [binary, {d, list_to_atom("COMPILER_VSN"), ""}]) || F <- init:get_plain_arguments()]' \
        "${modules[@]}"
done
