#!/usr/bin/env python3
"""gradix beside NumPy, PyTorch, JAX and numba, each in a process of its own, in turns.

    python3 benches/peers/python/compare.py [--record] [CASE ...]

Sets up a virtual environment from requirements.txt next to this file's target folder, builds gradix's side, and prints one
table. A library that cannot be installed or imported is reported and left out. --record keeps the figures as
results/<machine>/python.json.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent
RESULTS = PEERS.parent.parent / "results"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", PEERS / "target"))
LIBRARIES = ["numpy", "numba", "jax", "torch"]
CASES = ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "T1", "T2"]
CASES += [f"S{i} {share}%" for i in (1, 2) for share in (1, 50, 99)] + ["S3 50%"]
CASES += [f"S1 f64 {share}%" for share in (1, 50, 99)]
CASES += ["X1", "X2", "X3", "X4", "X5", "X2 f64", "X3 f64"]
ROUNDS, BUDGET = 11, 6.0  # seconds for a case on some number of threads
# PyTorch's wheel on PyPI is made for CUDA and asks for gigabytes of its libraries. It is installed without them and works
# where the wheel is one for CPUs.
ALONE = {"torch": ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec"]}


def environment():
    """A Python that has what can be had, and why the rest is absent."""
    folder = TARGET / "python"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    absent = {}
    for line in (HERE / "requirements.txt").read_text().split():
        library = line.split("==")[0]
        installs = [["--no-deps", line], ALONE[library]] if library in ALONE else [[line]]
        for install in installs:
            command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *install]
            subprocess.run(command, check=False)
        found = subprocess.run([python, "-c", f"import {library}"], capture_output=True, text=True, check=False)
        if found.returncode:
            absent[library] = f"`import {library}` says: {found.stderr.strip().splitlines()[-1].split(' in the system path')[0]}"
    return python, absent


class Side:
    """A process that works when it is asked to."""

    def __init__(self, name, command, threads):
        settings = {**os.environ, "NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        # One thread means one CPU, also for those that cannot be told.
        cpus = set(sorted(os.sched_getaffinity(0))[:threads])
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=settings,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        line = self.process.stdout.readline()
        self.says = json.loads(line) if line else {"absent": "ended by itself"}
        self.seconds = []

    def turn(self):
        self.process.stdin.write("turn\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def interval(samples):
    """The median and its 95 % interval by order statistics, as in benches/common/gate.rs."""
    ordered, n = sorted(samples), len(samples)
    below, total = 0, 0.0
    while total + math.comb(n, below) / 2**n < 0.025:
        total += math.comb(n, below) / 2**n
        below += 1
    at = max(below - 1, 0)
    return {"median": statistics.median(ordered), "low": ordered[at], "high": ordered[n - 1 - at]}


def compare(case, threads, folder, python, libraries, versions):
    program = TARGET / "release" / "gradix-peers"
    gradix = Side("gradix", [program, "--serve", case, "--threads", str(threads), "--folder", folder], threads)
    sides = [gradix]
    for library in libraries:
        side = Side(library, [python, HERE / "side.py", library, folder, str(threads)], threads)
        if "absent" in side.says:
            print(f"{case}: {library} {side.says['absent']}", file=sys.stderr)
        else:
            versions[library] = side.says["version"]
            sides.append(side)
    for side in sides * 2:
        side.turn()  # warm, and knows how many calls fill a turn
    begin = time.monotonic()
    for round_ in range(ROUNDS):
        for side in sides if round_ % 2 else reversed(sides):
            side.seconds.append(side.turn())
        if time.monotonic() - begin > BUDGET and round_ >= 4:
            break
    for side in sides:
        side.end()

    def figure(side):
        ratio = interval([a / b for a, b in zip(side.seconds, gradix.seconds)])
        return {"name": side.name, "seconds": interval(side.seconds), "ratio": ratio}

    row = {"case": case, "id": gradix.says["id"], "threads": threads}
    row |= {"gradix_seconds": interval(gradix.seconds), "peers": [figure(side) for side in sides[1:]]}
    row |= {"made": gradix.says["made"]}
    return gradix.says["machine"], row


def show(rows):
    print("| case | threads | gradix, ms | " + " | ".join(LIBRARIES) + " |")
    print("|---" * (3 + len(LIBRARIES)) + "|")
    for row in rows:
        cells = [row["case"], str(row["threads"]), f"{row['gradix_seconds']['median'] * 1e3:.4f}"]
        for library in LIBRARIES:
            peer = next((peer for peer in row["peers"] if peer["name"] == library), None)
            time_, ratio = (peer["seconds"]["median"] * 1e3, peer["ratio"]["median"]) if peer else (0, 0)
            cells.append(f"{time_:.4f} ({ratio:.2f}x)" if peer else "–")
        print("| " + " | ".join(cells) + " |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--record", action="store_true")
    arguments.add_argument("cases", nargs="*")
    arguments = arguments.parse_args()
    subprocess.run(["cargo", "build", "--release"], cwd=PEERS, check=True)
    python, absent = environment()
    for library, why in absent.items():
        print(f"{library} is left out: {why}", file=sys.stderr)
    libraries = [library for library in LIBRARIES if library not in absent]
    versions, rows, machine = {}, [], None
    for case in arguments.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            for threads in sorted({1, len(os.sched_getaffinity(0))}):
                machine, row = compare(case, threads, folder, python, libraries, versions)
                rows.append(row)
                show(rows[-1:])
    show(rows)
    if arguments.record and machine:
        path = RESULTS / machine["name"] / "python.json"
        kept = json.loads(path.read_text())["rows"] if path.exists() else []
        new = {(row["case"], row["threads"]) for row in rows}
        rows += [row for row in kept if (row["case"], row["threads"]) not in new]
        rows.sort(key=lambda row: (row["threads"], CASES.index(row["case"])))
        figures = {"machine": machine, "versions": sorted(versions.items()), "absent": sorted(absent.items()), "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"kept in {path}")


main()
