"""Puts the results of a run of OTP's suites together.

report.py line THEIRS OURS SUITE    prints a line about a suite
report.py page THEIRS OURS PAGE     writes the suites that OURS has into the page; of others it keeps what it says
report.py again FILE NEW            replaces a suite's results by the new ones of those cases that were run again

The folders hold a file a suite with lines "CASE name result what". Why a case passes on erl and not here stands in
reasons.txt, a line each: "SUITE case: reason". A row of the page ends with the version that was run: SWARMRT_VERSION,
else the commit that is checked out."""

import os
import re
import subprocess
import sys
from pathlib import Path

RESULTS = ["passed", "failed", "skipped"]


def read(path):
    """Case to (result, what is reported); a case that comes more than once counts as its worst."""
    cases = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        _, name, result, *what = line.split(" ", 3)
        if name not in cases or RESULTS.index(result) > RESULTS.index(cases[name][0]):
            cases[name] = (result, what[0] if what else "")
    return cases


def counts(cases):
    return [len(cases)] + [sum(result == wanted for result, _ in cases.values()) for wanted in RESULTS]


def shortened(what):
    """Without folders, numbers of processes, and the frames of the runner."""
    what = re.sub(r'"[^" ]*/([^/" ]+)"', r'"\1"', what)
    what = re.sub(r"<\d+\.\d+\.\d+>", "<pid>", what)
    what = re.sub(r",?\{conformance_runner,.*", "…", what)
    return what if len(what) <= 160 else what[:160] + "…"


def reasons():
    found = {}
    for line in Path(__file__).with_name("reasons.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            case, reason = line.split(": ", 1)
            found[tuple(case.split(" "))] = reason
    return found


def share(theirs, ours):
    wanted = [name for name, (result, _) in theirs.items() if result == "passed"]
    missed = [name for name in wanted if ours.get(name, ("missing", ""))[0] != "passed"]
    got = len(wanted) - len(missed)
    return missed, got, len(wanted), 100 * got / len(wanted) if wanted else 0


def line(suite, theirs, ours):
    _, got, wanted, percent = share(theirs, ours)
    figures = lambda cases: "{} run, {} passed, {} failed, {} skipped".format(*counts(cases))
    print(f"{suite}: erl {figures(theirs)}; swarmrt {figures(ours)}; {got} of {wanted} ({percent:.0f} %)", flush=True)


def version():
    given = os.environ.get("SWARMRT_VERSION")
    return given or subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()


def row(suite, theirs, ours, run):
    _, got, wanted, percent = share(theirs, ours)
    figures = " | ".join(str(count) for count in counts(theirs) + counts(ours))
    return f"| {suite} | {figures} | {got} of {wanted}, {percent:.0f} % | {run} |"


def missed_cases(suite, theirs, ours, known):
    lines = []
    for name in share(theirs, ours)[0]:
        result, what = ours.get(name, ("missing", "the run ended before it"))
        why = known.get((suite, name), "Not looked into.")
        lines.append(f"- `{name}`: {why} ({result}: `{shortened(what)}`)")
    return lines


def former(path):
    """What the page says of each suite: its row, and the lines about cases that are missed."""
    rows, missed = {}, {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if found := re.match(r"\| (\S+_(?:SUITE|test)) ", line):
            rows[found[1]] = line
        elif line.startswith("## "):
            suite = line[3:]
            missed[suite] = []
        elif line.startswith("- "):
            missed[suite].append(line)
    return rows, missed


def page(theirs, ours, path):
    run = sorted(file.name for file in ours.iterdir())
    if not run:
        return
    rows, missed = former(path)
    known = reasons()
    run_with = version()
    for suite in run:
        cases = read(theirs / suite), read(ours / suite)
        rows[suite] = row(suite, *cases, run_with)
        missed[suite] = missed_cases(suite, *cases, known)
    lines = [
        "# Conformance\n",
        "OTP's own suites, run case by case by `script/conformance` on SwarmRT and on the `erl` of the same machine",
        "(60 seconds a case). Each system: cases run, passed, failed, skipped; then how many of those that pass on erl pass here.",
        "The last column is the commit that was run.\n",
        "| suite | erl: run | passed | failed | skipped | SwarmRT: run | passed | failed | skipped | of erl's | version |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(rows[suite] for suite in sorted(rows)),
        "\nCases that pass on erl and not here, why, and what is reported:",
    ]
    for suite in sorted(rows):
        if missed.get(suite):
            lines += [f"\n## {suite}\n", *missed[suite]]
    path.write_text("\n".join(lines) + "\n")


def again(path, new):
    names = set(read(new))
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    kept = [line for line in lines if line.split(" ", 3)[1] not in names]
    path.write_text("\n".join(kept + new.read_text(errors="replace").splitlines()) + "\n")


def main():
    form, first, second, *rest = sys.argv[1:]
    theirs, ours = Path(first), Path(second)
    if form == "again":
        again(theirs, ours)
    elif form == "line":
        line(rest[0], read(theirs / rest[0]), read(ours / rest[0]))
    else:
        page(theirs, ours, Path(rest[0]))


main()
