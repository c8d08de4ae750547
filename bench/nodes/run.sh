#!/usr/bin/env bash
# Two nodes of the same kind (nodes.erl), SwarmRT's and erl's in turn: script/bench --nodes [--otp N] [--runs N] [--seconds N] [ROW…]
# Prints medians with erl and SwarmRT, and the ratio, above 1 in SwarmRT's favour: calls, messages or bytes a second, and for beside-large
# the 99th percentile of a small message's round trip in microseconds while 64 MB binaries go the same way.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=bench/options.sh
. "$(dirname "$0")/../options.sh"
runs=3 seconds=2 otp=''
take_options nodes "otp runs seconds" "$@"
swarmrt=$(realpath "${SWARMRT:-target/release/swarmrt}")
folder=$(mktemp -d)
peer=
trap '[ -z "$peer" ] || kill "$peer"; rm -rf "$folder"' EXIT
erl=(erl) erlc=(erlc) ours=("$swarmrt" erl)
if [ -n "$otp" ]; then
    cp "$swarmrt" "$folder/swarmrt"
    erl=("$here/script/otp" "$otp" erl) erlc=("$here/script/otp" "$otp" erlc)
    ours=("$here/script/otp" "$otp" "$folder/swarmrt" erl)
fi
"${erlc[@]}" -o "$folder" bench/nodes/nodes.erl
epmd -daemon
host=$(hostname -s)
measure() { # NAME ROW COMMAND…: adds a line to $folder/NAME
    local name=$1 row=$2 node="bench_$1_$$"
    shift 2
    local common=(-noshell -setcookie "$node" -pa "$folder")
    "$@" "${common[@]}" -sname "${node}_peer" </dev/null >/dev/null 2>&1 &
    peer=$!
    "$@" "${common[@]}" -sname "$node" -eval "nodes:measure(\"$row\", '${node}_peer@$host', $seconds), halt()." </dev/null >>"$folder/$name"
    kill "$peer" && wait "$peer" 2>/dev/null || true
    peer=
}
median() { sort -g "$folder/$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

[ ${#rows[@]} -gt 0 ] || rows=(rpc-call gen-call small-1 small-100 large beside-large)
printf '%-14s %14s %14s %6s\n' row erl SwarmRT ratio
for row in "${rows[@]}"; do
    rm -f "$folder/erl" "$folder/ours"
    for ((run = 0; run < runs; run++)); do
        measure erl "$row" "${erl[@]}"
        measure ours "$row" "${ours[@]}"
    done
    awk -v row="$row" -v erl="$(median erl)" -v ours="$(median ours)" 'BEGIN {
        ratio = row == "beside-large" ? erl / ours : ours / erl
        printf "%-14s %14.0f %14.0f %6.2f\n", row, erl, ours, ratio
    }'
done
