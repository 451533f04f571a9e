#!/usr/bin/env python3
"""Holds `countersign verify` against spin, tla-checker, z3 and stateright, on the files that `countersign export` prints.

    scripts/second_opinions.py [--states N] [--z3-seconds N] [--programs FOLDER] [--output FOLDER] [FLOW...]

For each flow, within the same bounds: as many distinct states, and the same safety properties violated. The bounds are the
first of a list within which `verify` counts at most `--states` states, or else the last. z3 proves for any number of callers: what it proves
must not be violated. Exits with 1 where they differ, and with 2 where a tool is missing. Needs spin, a C compiler, z3 and tla-checker (`scripts/ci-tools.sh`). Seconds are of one processor, not of the clock.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOWS = os.path.join(ROOT, "models", "flows")
BUILT_IN = [
    name[:-5]
    for folder in [FLOWS, os.path.join(FLOWS, "cases")]
    for name in sorted(os.listdir(folder))
    if name.endswith(".toml")
]
# Callers, crashes and faults, the largest first.
BOUNDS = [(3, 1, 1), (2, 1, 1), (2, 1, 0), (2, 0, 1), (2, 0, 0), (1, 1, 1), (1, 1, 0), (1, 0, 0)]
# Proofs that z3 has to find, so that a solver that gives up is noticed.
PROVED = {"magic-link": "S2 S5 S7 S9 S17"}


class Differs(Exception):
    pass


def run(command, folder=None, codes=(0,), limit=1800, errors=subprocess.PIPE):
    """What a program prints, and the seconds that it used. `errors`: where its standard error goes."""
    before = os.times()
    try:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return None, limit
    after = os.times()
    if done.returncode not in codes:
        raise Differs(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return done.stdout, used


def find(pattern, text, what):
    found = re.search(pattern, text)
    if not found:
        raise Differs(f"{what} does not say how many states there are:\n{text[-2000:]}")
    return int(found.group(1))


class Opinions:
    def __init__(self, arguments, folder, programs):
        self.bounds = None
        self.most = arguments.states
        self.z3_steps = arguments.z3_steps
        self.z3_seconds = arguments.z3_seconds
        self.z3_megabytes = arguments.z3_megabytes
        self.folder = folder
        self.binary = os.path.join(programs, "countersign")
        self.stateright_binary = os.path.join(programs, "examples/stateright")

    def bounded(self):
        callers, crashes, faults = self.bounds
        return ["--callers", str(callers), "--crashes", str(crashes), "--faults", str(faults)]

    def export(self, flow, language):
        return run([self.binary, "export", flow, "--to", language, *self.bounded()])

    def ours(self, flow):
        """Chooses the bounds."""
        for self.bounds in BOUNDS:
            limits = ["--bounded", "--threads", "1", "--format", "json"]
            if self.bounds != BOUNDS[-1]:
                limits += ["--max-states", str(self.most)]
            text, seconds = run([self.binary, "verify", flow, *limits, *self.bounded()], codes=(0, 1, 3))
            judged = json.loads(text)["flows"][0]
            if judged["complete"]:
                broken = {one["id"] for one in judged["properties"] if one["verdict"] == "broken"}
                return judged["states"], {one for one in broken if one.startswith("S")}, seconds
        raise Differs(f"{flow}: the search was cut off")

    def stateright(self, flow):
        text, seconds = run([self.stateright_binary, flow, *map(str, self.bounds)])
        return int(text), seconds

    def spin(self, text):
        path = os.path.join(self.folder, "flow.pml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        run(["spin", "-o2", "-a", "flow.pml"], self.folder)
        run(["cc", "-O1", "-w", "-DSAFETY", "-DNOREDUCE", "-DNOCLAIM", "-o", "pan", "pan.c"], self.folder)
        printed, seconds = run(["./pan", "-c0", "-E", "-m1000000"], self.folder)
        if "max search depth too small" in printed:
            raise Differs("spin: the search was cut off")
        violated = {f"S{number}" for number in re.findall(r"assertion violated \(S!=(\d+)\)", printed)}
        return find(r"(\d+) states, stored", printed, "spin"), violated, seconds

    def tla(self, text):
        module = re.search(r"MODULE (\w+)", text).group(1)
        path = os.path.join(self.folder, f"{module}.tla")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        claims = re.findall(r"^(S\d+)_is_violated ==", text, re.MULTILINE)
        command = ["tla", "--allow-deadlock", "--max-states", "100000000", "--max-depth", "1000000", path]
        for claim in claims:
            command += ["--count-satisfying", f"{claim}_is_violated"]
        printed, seconds = run(command)
        states = find(r"Reachable states: (\d+)", printed, "tla-checker")
        violated = set()
        for claim in claims:
            found = re.search(rf"{claim}_is_violated: (\d+)/(\d+) satisfied", printed)
            if not found or int(found.group(2)) != states:
                raise Differs(f"tla-checker does not say whether {claim} is violated:\n{printed[-2000:]}")
            if int(found.group(1)) > 0:
                violated.add(claim)
        return states, violated, seconds

    def z3(self, flow):
        """For each property the answer of z3: proved, open, or why it is unknown. Or why there is no file.

        The pinned properties have a limit of z3's own steps, so that the answer is the same on every machine. The rest shares
        the seconds of the flow.
        """
        done = subprocess.run(
            [self.binary, "export", flow, "--to", "smt2"], capture_output=True, text=True, check=False
        )
        if done.returncode in (2, 3):
            return "not exported" if done.returncode == 2 else "too large"
        if done.returncode != 0:
            raise Differs(done.stderr)
        common, *parts = re.split(r"^\(push\)$", done.stdout, flags=re.MULTILINE)
        named = [(re.search(r'\(echo "(\w+)"\)', part).group(1), part) for part in parts]
        pinned = PROVED.get(flow, "").split()
        answers, seconds, left = {}, 0, self.z3_seconds
        path = os.path.join(self.folder, "flow.smt2")
        waiting = sum(name not in pinned for name, _ in named)
        for name, part in named:
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{common}\n(push)\n{part}")
            limits = [f"rlimit={self.z3_steps}"]
            if name not in pinned:
                if left <= 0:
                    answers[name] = "time"
                    continue
                # Its own time limit is not always kept, and is backed by one that is.
                share = left / waiting
                limits += [f"-t:{1000 * share:.0f}", f"-T:{share + 1:.0f}"]
                waiting -= 1
            begun = time.monotonic()
            # It ends with 1 where there is no invariant to print, and with 101 where it has no memory left.
            command = ["z3", f"-memory:{self.z3_megabytes}", *limits, path]
            printed, used = run(command, codes=(0, 1, 101), errors=subprocess.STDOUT)
            seconds += used
            if name not in pinned:
                left -= time.monotonic() - begun
            found = re.search(r"^(sat|unsat|unknown|timeout)$|out of memory", printed, re.MULTILINE)
            if not found:
                raise Differs(f"z3 does not say whether {name} of {flow} holds:\n{printed[-2000:]}")
            answers[name] = ANSWERS[found.group(0)]
            if answers[name] == "proved" and "Meets" not in printed:
                if name in pinned:
                    raise Differs(f"z3 proves {name} of {flow} and prints no invariant")
                # Its time was over before the invariant was printed.
                answers[name] = "time"
        return answers, seconds


# What z3 says, and what that means: of the last three which limit it met.
ANSWERS = {"sat": "proved", "unsat": "open", "unknown": "time", "timeout": "time", "out of memory": "memory"}

# A rule of both files, and the same one with a guard that is never true.
BROKEN = {
    ":: d_step { job1 == job_ready": ":: d_step { false && job1 == job_ready",
    "/\\ job1 = job_ready": "/\\ FALSE /\\ job1 = job_ready",
}


def check_the_controls(opinions):
    """A file in which the worker never leases a job has other counts: the comparison can fail."""
    flow = "atomic-commit"
    states, _, _ = opinions.ours(flow)
    for tool, language, mark in [
        (opinions.spin, "promela", ":: d_step { job1 == job_ready"),
        (opinions.tla, "tla", "/\\ job1 = job_ready"),
    ]:
        text, _ = opinions.export(flow, language)
        if mark not in text:
            raise Differs(f"the control of {language} has nothing to break: no `{mark}`")
        found = tool(text.replace(mark, BROKEN[mark]))[0]
        if found == states:
            raise Differs(f"{language}: a rule was left out, and the count is still {states}")
    print("A rule that is left out of a file changes the counts of spin and of tla-checker.", file=sys.stderr)


def judge(opinions, flow):
    states, violated, ours = opinions.ours(flow)
    row = {"flow": flow, "bounds": opinions.bounds, "states": states, "violated": sorted(violated), "seconds": {"ours": ours}}
    problems = []

    def agree(tool, count, verdicts=None):
        if count != states:
            problems.append(f"{flow}: {tool} counts {count} states, and verify {states}")
        if verdicts is not None and verdicts != violated:
            problems.append(f"{flow}: {tool} finds {sorted(verdicts)} violated, and verify {sorted(violated)}")

    count, row["seconds"]["stateright"] = opinions.stateright(flow)
    agree("stateright", count)
    text, row["seconds"]["export"] = opinions.export(flow, "promela")
    count, verdicts, row["seconds"]["spin"] = opinions.spin(text)
    agree("spin", count, verdicts)
    text, _ = opinions.export(flow, "tla")
    count, verdicts, row["seconds"]["tla-checker"] = opinions.tla(text)
    agree("tla-checker", count, verdicts)
    answer = opinions.z3(flow)
    row["z3"] = answer
    if not isinstance(answer, str):
        row["z3"], row["seconds"]["z3"] = answer
        proved = {name for name, one in row["z3"].items() if one == "proved"}
        for wrong in sorted(proved & violated):
            problems.append(f"{flow}: z3 proves {wrong}, which verify violates")
    for pinned in PROVED.get(flow, "").split():
        if isinstance(answer, str) or row["z3"].get(pinned) != "proved":
            problems.append(f"{flow}: z3 proved {pinned}, and now says: {answer if isinstance(answer, str) else row['z3'].get(pinned)}")
    return row, problems


def by_number(name):
    return int(name[1:])


def table(rows):
    lines = [
        "| flow | bounds | states | violated | ours | stateright | spin | tla-checker | z3, any number |",
        "|---|---|--:|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        seconds = row["seconds"]
        z3 = row["z3"]
        if not isinstance(z3, str):
            counts = Counter(z3.values())
            parts = [f"{counts[one]} {one}" for one in ["proved", "open"] if counts[one]]
            limits = [f"{counts[one]} {one}" for one in ["time", "memory"] if counts[one]]
            parts += [f"unknown: {', '.join(limits)}"] if limits else []
            z3 = f"{'; '.join(parts)}; {seconds['z3']:.1f} s"
        lines.append(
            f"| {row['flow']} | {' '.join(map(str, row['bounds']))} | {row['states']:,} | {' '.join(sorted(row['violated'], key=by_number)) or '–'} | {seconds['ours']:.2f} s"
            f" | {seconds['stateright']:.2f} s | {seconds['spin']:.2f} s | {seconds['tla-checker']:.1f} s | {z3} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=40_000, help="at most, within the bounds of a flow")
    parser.add_argument("--z3-steps", type=int, default=10_000_000, help="z3's rlimit for one property")
    parser.add_argument("--z3-seconds", type=float, default=60, help="of z3 for one flow, besides what it is known to prove")
    parser.add_argument("--z3-megabytes", type=int, default=2000, help="of z3 for one property")
    parser.add_argument("--programs", metavar="FOLDER", help="such as target/debug, instead of building them optimised")
    parser.add_argument("--output", metavar="FOLDER", help="writes second-opinions.md and .json there")
    parser.add_argument("flows", metavar="FLOW", nargs="*", default=BUILT_IN)
    arguments = parser.parse_args()
    missing = [tool for tool in ["spin", "cc", "tla", "z3", "cargo"] if not shutil.which(tool)]
    if missing:
        print(f"missing: {', '.join(missing)} (scripts/ci-tools.sh installs them)", file=sys.stderr)
        return 2
    programs = arguments.programs
    if programs is None:
        programs = os.path.join(ROOT, "target/release")
        build = ["cargo", "build", "--release", "--quiet"]
        subprocess.run([*build, "-p", "countersign-cli"], cwd=ROOT, check=True)
        subprocess.run([*build, "-p", "countersign-models", "--example", "stateright"], cwd=ROOT, check=True)
    rows, problems = [], []
    with tempfile.TemporaryDirectory() as folder:
        opinions = Opinions(arguments, folder, os.path.abspath(programs))
        try:
            check_the_controls(opinions)
            for flow in arguments.flows:
                row, found = judge(opinions, flow)
                rows.append(row)
                problems += found
                print(f"{flow}: {row['states']} states within {row['bounds']}", file=sys.stderr)
        except Differs as problem:
            problems.append(str(problem))
    seconds = {tool: sum(row["seconds"].get(tool, 0) for row in rows) for tool in ["spin", "tla-checker", "z3"]}
    sums = ", ".join(f"{tool} {used:.0f} s" for tool, used in seconds.items())
    text = f"Bounds: callers, crashes and faults. Seconds of one processor; in all {sums}.\n\n{table(rows)}\n"
    print(text)
    if arguments.output:
        with open(os.path.join(arguments.output, "second-opinions.md"), "w", encoding="utf-8") as file:
            file.write(f"# Second opinions\n\nWritten by `scripts/second_opinions.py`. [docs/proof.md](../../docs/proof.md) says what they check.\n\n{text}")
        with open(os.path.join(arguments.output, "second-opinions.json"), "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
