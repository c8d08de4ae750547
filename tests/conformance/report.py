"""Puts the results of a run of OTP's suites together: one line a suite while it goes on, or the page of documentation.

report.py line|page THEIRS OURS SUITE… where the folders hold a file a suite with lines "CASE name result what".
Why a case passes on erl and not here stands in reasons.txt, a line each: "SUITE case: reason"."""

import re
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


def page(results):
    print("# Conformance\n")
    print("OTP's own suites, run case by case by `script/conformance` on SwarmRT and on the `erl` of the same machine")
    print("(60 seconds a case). Each system: cases run, passed, failed, skipped; then how many of those that pass on erl pass here.\n")
    print("| suite | erl: run | passed | failed | skipped | SwarmRT: run | passed | failed | skipped | of erl's |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for suite, theirs, ours in results:
        _, got, wanted, percent = share(theirs, ours)
        figures = " | ".join(str(count) for count in counts(theirs) + counts(ours))
        print(f"| {suite} | {figures} | {got} of {wanted}, {percent:.0f} % |")
    print("\nCases that pass on erl and not here, why, and what is reported:")
    known = reasons()
    for suite, theirs, ours in results:
        missed = share(theirs, ours)[0]
        if missed:
            print(f"\n## {suite}\n")
        for name in missed:
            result, what = ours.get(name, ("missing", "the run ended before it"))
            why = known.get((suite, name), "Not looked into.")
            print(f"- `{name}`: {why} ({result}: `{shortened(what)}`)")


def main():
    form, theirs, ours, *suites = sys.argv[1:]
    results = [(suite, read(Path(theirs) / suite), read(Path(ours) / suite)) for suite in suites]
    if form == "line":
        for result in results:
            line(*result)
    else:
        page(results)


main()
