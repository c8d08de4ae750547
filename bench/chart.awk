# A chart (SVG) of the first table of docs/benchmarks.md: each program's time relative to erl's, in a first run (thin bar)
# and with machine code from earlier runs (thick bar), in the order of the latter.
#
# awk -f bench/chart.awk docs/benchmarks.md
BEGIN {
    FS = " *[|] *"
    left = 130; scale = 400; row = 17; top = 58
}

/^Measured / && !when { when = $0; sub(/^Measured (on )?/, "", when); sub(/[.:].*/, "", when) }
/^[|] program [|] erl [|] interp [|]/ { in_table = 1; next }
in_table && !/^[|]/ { in_table = 0; done = 1 }
in_table && !done && $2 !~ /^-+$/ { name[++count] = $2; first[count] = $7; again[count] = $9 }
/^[|] time, all / && !mean { mean = $5 }

function text(x, y, how, what) { printf "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, how, what }
function bar(y, height, ratio, colour) {
    printf "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", left, y, ratio * scale, height, colour
}

END {
    if (count == 0) { print "chart.awk: there is no table of programs" > "/dev/stderr"; exit 1 }
    # In the order of the second ratio: insertion, as awk has no sort.
    for (i = 1; i <= count; i++) {
        for (j = i; j > 1 && again[order[j - 1]] > again[i]; j--) order[j] = order[j - 1]
        order[j] = i
    }
    height = top + count * row + 34
    width = left + 1.5 * scale + 60
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\"", width, height, width, height
    print " font-family=\"sans-serif\" font-size=\"11\" role=\"img\">"
    print "<title>Time of each program of the benchmark on SwarmRT, relative to erl</title>"
    printf "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height
    text(10, 20, "font-size=\"14\" font-weight=\"bold\"", "Time relative to erl (OTP 25 with its JIT): shorter is faster")
    text(10, 38, "fill=\"#555555\"", "thick: later runs (geometric mean " mean "); thin: first run. " when)
    for (i = 1; i <= count; i++) {
        at = order[i]; y = top + (i - 1) * row
        text(left - 6, y + 10, "text-anchor=\"end\"", name[at])
        bar(y, 8, again[at], again[at] <= 1 ? "#2b7a4b" : "#b5542c")
        bar(y + 9, 3, first[at], first[at] <= 1 ? "#9cc9ae" : "#e0b29c")
        longer = first[at] > again[at] ? first[at] : again[at]
        text(left + longer * scale + 4, y + 9, "fill=\"#555555\"", again[at])
    }
    bottom = top + count * row
    for (tick = 0; tick <= 3; tick++) {
        x = left + tick * scale / 2
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\"/>\n", x, x, top - 8, bottom, tick == 2 ? "#000000" : "#dddddd"
        text(x, bottom + 16, "text-anchor=\"middle\" fill=\"#555555\"", tick == 2 ? "1 (erl)" : tick / 2)
    }
    print "</svg>"
}
