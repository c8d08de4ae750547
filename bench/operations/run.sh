#!/usr/bin/env bash
# Single operations (operations.erl) under SwarmRT and under erl in turn: script/bench --operations [--runs N] [NAME…]
# Prints each with the ratio (above 1: SwarmRT is faster) and the least nanoseconds of both, slowest ratio first.
set -euo pipefail
# shellcheck source=bench/options.sh
. "$(dirname "$0")/../options.sh"
runs=3
take_options operations runs "$@"
swarmrt=${SWARMRT:-target/release/swarmrt}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
erlc -o "$folder" bench/operations/operations.erl
list=$(IFS=,; echo "${rows[*]}")
measure() { # NAME COMMAND…: adds to $folder/NAME
    "${@:2}" -noshell -pa "$folder" -eval "operations:main([$list]), halt()." >>"$folder/$1"
}
for ((run = 0; run < runs; run++)); do
    measure erl erl
    measure swarmrt "$swarmrt" erl
done
printf '%-18s %6s %12s %12s\n' operation ratio 'erl ns' 'SwarmRT ns'
awk 'FNR == 1 { file++ }
     !(($1, file) in least) || $2 < least[$1, file] { least[$1, file] = $2; seen[$1] }
     END { for (name in seen) printf "%-18s %6.2f %12.1f %12.1f\n", name, least[name, 1] / least[name, 2], least[name, 1], least[name, 2] }' \
    "$folder/erl" "$folder/swarmrt" | sort -k 2,2 -g
