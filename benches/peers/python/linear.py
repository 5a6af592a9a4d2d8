#!/usr/bin/env python3
"""PyTorch's ways of a linear layer with cross-entropy, forward and backward, at the shapes of
`cargo bench --bench linear_xent --features linear`, which has gradix's figures.

    benches/peers/target/python/bin/python benches/peers/python/linear.py [THREADS [FILTER]]

compare.py makes that Python's environment. Prints milliseconds, the median of seven steps, or of three where these take
long; only of shapes that contain the filter.
"""

import statistics
import sys
import time

import torch
from torch.nn import functional

SHAPES = [
    (65_536, 64, 10),
    (4096, 256, 100),
    (4096, 512, 1000),
    (2048, 512, 8192),
    (1024, 512, 16_384),
    (1024, 4096, 32_000),
    (1024, 768, 32_000),
    (1024, 768, 50_257),
    (512, 512, 128_256),
]
STEPS, FEWEST, BUDGET = 7, 3, 8.0  # seconds


def plain(x, weight, labels):
    return functional.cross_entropy(functional.linear(x, weight), labels)


WAYS = {"linear, then cross_entropy": plain}
if hasattr(functional, "linear_cross_entropy"):
    WAYS["linear_cross_entropy"] = functional.linear_cross_entropy


def milliseconds(way, x, weight, labels):
    steps = []
    begin = time.perf_counter()
    while len(steps) <= FEWEST or len(steps) <= STEPS and time.perf_counter() - begin < BUDGET:
        x.grad = weight.grad = None
        start = time.perf_counter()
        way(x, weight, labels).backward()
        steps.append(1e3 * (time.perf_counter() - start))
    return statistics.median(steps[1:])


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| rows x columns, classes | " + " | ".join(WAYS) + " |")
    print("|---" * (1 + len(WAYS)) + "|")
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    for rows, columns, classes in SHAPES:
        if wanted not in f"{rows} x {columns} x {classes}":
            continue
        x = torch.randn(rows, columns, requires_grad=True)
        weight = (torch.randn(classes, columns) / columns**0.5).requires_grad_()
        labels = torch.randint(classes, (rows,))
        cells = [f"{milliseconds(way, x, weight, labels):.2f}" for way in WAYS.values()]
        print(f"| {rows} x {columns}, {classes} | " + " | ".join(cells) + " |", flush=True)


main()
