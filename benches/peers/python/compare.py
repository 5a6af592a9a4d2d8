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
import select
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
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
ROUNDS, FEWEST, BUDGET = 11, 3, 4.0  # seconds for a case on some number of threads
# How long a library may take to be ready, with its answer checked. Some compile first.
PATIENCE = 60.0
# Memory that was written before, in huge pages, as the Rust peers have it.
MEMORY = tomllib.loads((PEERS / ".cargo" / "config.toml").read_text())["env"]
# What would tell a library's threads or instructions something else than this program does.
SETTINGS = ("OPENBLAS_", "NVPL_", "MKL_", "OMP_", "KMP_", "GOTO_", "BLIS_", "NUMBA_", "XLA_", "JAX_", "GRADIX_")


def environment():
    """A Python that has what can be had, and why the rest is absent."""
    folder = TARGET / "python"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    absent = {}
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        library = line.split("==")[0]
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", line]
        subprocess.run(command, check=False)
        found = subprocess.run([python, "-c", f"import {library}"], capture_output=True, text=True, check=False)
        if found.returncode:
            absent[library] = f"`import {library}` says: {found.stderr.strip().splitlines()[-1].split(' in the system path')[0]}"
    return python, absent


class Side:
    """A process that works when it is asked to."""

    def __init__(self, name, command, threads):
        settings = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        settings |= {"NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), **MEMORY}
        # One thread means one CPU, also for those that cannot be told.
        cpus = set(sorted(os.sched_getaffinity(0))[:threads])
        self.name = name
        self.start = lambda: subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=settings,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        self.process = None

    def ready(self, folder):
        """What it says of the case in a folder."""
        self.seconds = []
        if self.process and self.process.poll() is not None:
            self.end()  # it has ended since the case before
        self.process = self.process or self.start()
        try:
            self.tell(f"case {folder}")
        except BrokenPipeError:
            self.end()
            return {"absent": "ended by itself"}
        waited, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if waited else ""
        if line:
            return json.loads(line)
        self.end()
        return {"absent": "ended by itself" if waited else "was not ready in time"}

    def turn(self):
        """The seconds of a call; nothing if the process has ended, as one does that finds no memory."""
        try:
            self.tell("turn")
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self.end()
            return None

    def tell(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def end(self):
        """The next case starts another process."""
        self.process.kill()
        self.process.communicate()
        self.process = None


def interval(samples):
    """The median and its 95 % interval by order statistics, as in benches/common/gate.rs."""
    ordered, n = sorted(samples), len(samples)
    below, total = 0, 0.0
    while total + math.comb(n, below) / 2**n < 0.025:
        total += math.comb(n, below) / 2**n
        below += 1
    at = max(below - 1, 0)
    return {"median": statistics.median(ordered), "low": ordered[at], "high": ordered[n - 1 - at]}


def compare(case, threads, folder, others, versions, unlike):
    program = TARGET / "release" / "gradix-peers"
    gradix = Side("gradix", [program, "--serve", case, "--threads", str(threads), "--folder", folder], threads)
    says = gradix.ready(folder)
    sides = [gradix]

    def leave_out(side, why):
        print(f"{case}: {side.name} {why}", file=sys.stderr)
        unlike.add((f"{side.name} in {case}", why.capitalize() + "."))

    def take_turns(order):
        for side in order:
            seconds = side.turn()
            if seconds is None:
                leave_out(side, "ended by itself")
                sides.remove(side)
            else:
                side.seconds.append(seconds)

    for side in others:
        answer = side.ready(folder)
        if "absent" in answer:
            leave_out(side, answer["absent"])
        else:
            versions[side.name] = answer["version"]
            sides.append(side)
    for _ in range(2):
        take_turns(list(sides))  # warm, and knows how many calls fill a turn
    for side in sides:
        side.seconds.clear()
    begin = time.monotonic()
    for round_ in range(ROUNDS):
        take_turns(sides[:: 1 if round_ % 2 else -1])
        if time.monotonic() - begin > BUDGET and round_ + 1 >= FEWEST:
            break
    gradix.end()
    for side in sides[1:]:
        side.tell("forget")

    def figure(side):
        ratio = interval([a / b for a, b in zip(side.seconds, gradix.seconds)])
        return {"name": side.name, "seconds": interval(side.seconds), "ratio": ratio}

    row = {"case": case, "id": says["id"], "threads": threads}
    row |= {"gradix_seconds": interval(gradix.seconds), "peers": [figure(side) for side in sides[1:]]}
    row |= {"made": says["made"]}
    return says["machine"], row


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
    versions, rows, machine, unlike = {}, [], None, set()
    begin = time.monotonic()
    others = {
        threads: [Side(library, [python, HERE / "side.py", library, str(threads)], threads) for library in libraries]
        for threads in sorted({1, len(os.sched_getaffinity(0))})
    }
    for case in arguments.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            for threads in others:
                machine, row = compare(case, threads, folder, others[threads], versions, unlike)
                rows.append(row)
                show(rows[-1:])
    show(rows)
    print(f"{time.monotonic() - begin:.0f} s")
    if arguments.record and machine:
        path = RESULTS / machine["name"] / "python.json"
        kept = json.loads(path.read_text()) if path.exists() and arguments.cases else {"absent": [], "rows": []}
        new = {(row["case"], row["threads"]) for row in rows}
        rows += [row for row in kept["rows"] if (row["case"], row["threads"]) not in new]
        rows.sort(key=lambda row: (row["threads"], CASES.index(row["case"])))
        unmeasured = set(CASES) - set(arguments.cases)
        unlike |= {(name, why) for name, why in kept["absent"] if name.split(" in ")[-1] in unmeasured}
        absent = sorted(absent.items()) + sorted(unlike)
        figures = {"machine": machine, "versions": sorted(versions.items()), "absent": absent, "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"kept in {path}")


main()
