#!/usr/bin/env bash
# Servers (servers.erl) under SwarmRT and under erl in turn, a client outside (client.c): script/bench --network [--runs N] [--seconds N] [ROW…]
# Prints medians: answers, connections or bytes a second with erl and SwarmRT, and their ratio; then the times to an answer and the
# server's CPU time for each. The last rows are memory. wrk is the client of tls-N. Rows that a C program can do (floor.c) have what
# that makes of it at the end: answers a second, and CPU time for each.
set -euo pipefail
# shellcheck source=bench/options.sh
. "$(dirname "$0")/../options.sh"
runs=3 seconds=2
take_options network "runs seconds" "$@"
swarmrt=${SWARMRT:-target/release/swarmrt}
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cc -O2 -o "$folder/client" bench/network/client.c
cc -O2 -pthread -o "$folder/floor" bench/network/floor.c
erlc -o "$folder" bench/network/servers.erl
# Both at both ends of every connection.
ulimit -n "$(ulimit -Hn)"
packet=$(printf 'x%.0s' $(seq 64))
get=$'GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n'

# ROW: the server's kind, connections, what is sent, what is waited for.
describe() {
    case $1 in
        active-*) set -- active "${1#*-}" "$packet" 64 ;;
        once-*) set -- once "${1#*-}" "$packet" 64 ;;
        passive-*) set -- passive "${1#*-}" "$packet" 64 ;;
        socket-*) set -- socket "${1#*-}" "$packet" 64 ;;
        http-*) set -- http "${1#*-}" "$get" 78 ;;
        httpd-*) set -- httpd "${1#*-}" "$get" "$(httpd_bytes)" ;;
        tls-*) set -- tls "${1#*-}" '' wrk ;;
        close) set -- close 10 '' close ;;
        give-inet) set -- give 1 '' read ;;
        give-socket) set -- give_socket 1 '' read ;;
        take-active) set -- take_active 1 '' write ;;
        take-passive) set -- take_passive 1 '' write ;;
        take-socket) set -- take_socket 1 '' write ;;
        idle-*) set -- active "${1#*-}" '' idle ;;
        *) echo "script/bench --network: no such row: $1" >&2; exit 2 ;;
    esac
    kind=$1 connections=$2 request=$3 answer=$4
}
begin() { # COMMAND…: starts the server; its process in $server, its port in $port
    if [ "$1" = "$folder/floor" ]; then
        coproc SERVER { exec "$@" "$kind"; }
    else
        coproc SERVER { exec "$@" -noshell -pa "$folder" -eval "servers:start($kind)"; }
    fi
    server=$SERVER_PID
    read -r port <&"${SERVER[0]}"
}
finish() {
    kill "$server" && wait "$server" 2>/dev/null || true
    server=
}
httpd_bytes() { # how long httpd's answer is
    kind=httpd
    begin erl
    curl -s -i "http://localhost:$port/hello" | wc -c
    finish
}
cpu() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
resident() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$server/status"; }
measure() { # NAME COMMAND…: adds a line to $folder/NAME
    local name=$1 before result used
    shift
    begin "$@"
    sleep 0.3
    if [ "$answer" = wrk ]; then
        before=$(cpu)
        result=$(wrk -t 1 -c "$connections" -d "${seconds}s" --latency "https://127.0.0.1:$port/hello" | awk '
            function us(text) { return text * (text ~ /us$/ ? 1 : text ~ /ms$/ ? 1000 : 1000000) }
            $1 == "50%" { half = us($2) } $1 == "99%" { most = us($2) } /Requests\/sec/ { print $2, half, most }')
        used=$(($(cpu) - before))
    elif [ "$answer" = idle ]; then
        before=$(resident)
        "$folder/client" "$port" "$connections" "$seconds" "$request" idle >/dev/null &
        sleep "$(awk -v s="$seconds" 'BEGIN { print s - 0.5 }')"
        result="$(( ($(resident) - before) / connections )) 0 0"
        wait $!
        used=0
    else
        before=$(cpu)
        result=$("$folder/client" "$port" "$connections" "$seconds" "$request" "$answer")
        used=$(($(cpu) - before))
    fi
    finish
    echo "$result $used" >>"$folder/$name"
}
median() { sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

[ ${#rows[@]} -gt 0 ] || rows=(active-1 active-100 active-10000 once-100 passive-1 passive-100 socket-1 socket-100 http-100 httpd-100 tls-100 close
                               give-inet give-socket take-active take-passive take-socket idle-2000)
printf '%-14s %14s %14s %6s %15s %15s %15s %14s\n' row 'erl /s' 'SwarmRT /s' ratio 'median us' '99th us' 'CPU us each' 'C /s, CPU us'
for row in "${rows[@]}"; do
    describe "$row"
    rm -f "$folder/erl" "$folder/swarmrt" "$folder/c"
    has_floor=false
    case $kind in active | http | close) has_floor=true ;; esac
    [ "$answer" != idle ] || has_floor=false
    for ((run = 0; run < runs; run++)); do
        measure erl erl
        measure swarmrt "$swarmrt" erl
        ! $has_floor || measure c "$folder/floor"
    done
    values=()
    for column in 1 2 3 4; do
        for name in erl swarmrt; do
            values+=("$(awk -v column="$column" '{ print $column }' "$folder/$name" | median)")
        done
    done
    for column in 1 4; do
        ! $has_floor || values+=("$(awk -v column="$column" '{ print $column }' "$folder/c" | median)")
    done
    awk -v row="$row" -v seconds="$seconds" -v all="${values[*]}" 'BEGIN {
        split(all, v, " ")
        ratio = v[1] > 0 ? v[2] / v[1] : 0
        for (at = 7; at <= 8; at++) used[at] = v[at - 6] > 0 ? v[at] * 10000 / (v[at - 6] * seconds) : 0
        printf "%-14s %14.0f %14.0f %6.2f %7d %7d %7d %7d %7.2f %7.2f", row, v[1], v[2], ratio, v[3], v[4], v[5], v[6], used[7], used[8]
        if (9 in v) printf " %8.0f %5.2f", v[9], v[10] * 10000 / (v[9] * seconds)
        print ""
    }'
done
