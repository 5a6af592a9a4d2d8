"""One of Python's libraries doing the work of one case. compare.py starts it and asks for turns."""

import json
import sys
import time
from pathlib import Path

TURN = 0.04  # seconds


def main():
    library, threads = sys.argv[1], int(sys.argv[2])
    work, calls = None, 1
    for line in sys.stdin:
        match line.split(maxsplit=1):
            case ["case", folder]:
                work, calls = None, 1  # before the next case asks for memory
                work, says = ready(library, Path(folder.strip()), threads)
                print(json.dumps(says), flush=True)
            case ["turn"]:
                start = time.perf_counter()
                for _ in range(calls):
                    work()
                seconds = (time.perf_counter() - start) / calls
                calls = max(1, int(TURN / seconds))
                print(seconds, flush=True)
            case ["forget"]:
                work = None


def ready(library, folder, threads):
    """The work of a case, and what is to be said of it."""
    import numpy as np

    case = json.loads((folder / "case.json").read_text())
    dtype = np.dtype({"f32": np.float32, "f64": np.float64}[case["dtype"]])
    src = np.fromfile(folder / "src", dtype)
    # The library's own index type: every other would be converted on each call.
    idx = np.fromfile(folder / "idx", np.uint32).astype(np.int64) if (folder / "idx").exists() else None
    if "rows" in case and case["what"] != "take":
        rows = len(idx) if case["what"] == "scatter_add" else case["rows"]
        src = src.reshape(rows, case["width"]) if case["width"] > 1 else src
    if "threshold" in case:
        case["threshold"] = dtype.type(case["threshold"])

    work = globals()[library](case, src, idx, threads)
    if work is None:
        return None, {"absent": "has no such operation"}
    answer, expected = work(), np.fromfile(folder / "answer", np.float64)
    if not equal(np, case, answer, expected, idx, dtype):
        return None, {"absent": "answers differently"}
    return work, {"version": sys.modules[library].__version__}


def equal(np, case, answer, expected, idx, dtype):
    if case["what"] != "softmax_xent":
        # A sum may be in another order.
        near = 1e-5 if case["what"] == "scatter_add" else 0
        flat = np.asarray(answer).astype(np.float64).ravel()
        return flat.shape == expected.shape and np.allclose(flat, expected, rtol=near, atol=0)
    gradient, loss = answer
    flat = np.append(np.asarray(gradient).astype(np.float64).ravel(), float(loss))
    scale = np.abs(expected)
    scale[np.arange(case["rows"]) * case["width"] + idx] = 1 / case["rows"]
    allowed = np.finfo(dtype).eps * (case["width"] + 1000) * scale + 1e-37
    return flat.shape == expected.shape and bool(np.all(np.abs(flat - expected) <= allowed))


def numpy(case, src, idx, threads):
    import numpy as np

    what, t = case["what"], case.get("threshold")
    if what in ("take", "take_rows", "take_columns"):
        axis = {"take": None, "take_rows": 0, "take_columns": 1}[what]
        out = np.take(src, idx, axis=axis)
        # mode="clip", because with mode="raise" NumPy fills another array first
        return lambda: np.take(src, idx, axis=axis, out=out, mode="clip")
    if what == "pick":
        rows = np.arange(case["rows"])
        return lambda: src[rows, idx]
    if what == "scatter_add":
        dst = np.zeros((case["rows"], *src.shape[1:]), src.dtype)
        first = []

        def add():
            np.add.at(dst, idx, src)
            first.append(dst.copy()) if not first else None
            return first[0]

        return add
    if what == "indices":
        return lambda: np.flatnonzero(src > t)
    if what == "values":
        return lambda: src[src > t]

    m = np.arange(case["rows"])

    def delta_cross_entropy():
        p = src - src.max(axis=1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[m, idx]).mean()
        p[m, idx] -= 1
        p /= len(m)
        return p, loss

    return delta_cross_entropy


def torch(case, src, idx, threads):
    import torch as th

    th.set_num_threads(threads)
    what, t = case["what"], case.get("threshold")
    src = th.from_numpy(src)
    idx = th.from_numpy(idx) if idx is not None else None
    if what in ("take", "take_rows", "take_columns"):
        axis = {"take": 0, "take_rows": 0, "take_columns": 1}[what]
        out = th.index_select(src, axis, idx)
        return lambda: th.index_select(src, axis, idx, out=out)
    if what == "pick":
        column = idx[:, None]
        return lambda: th.gather(src, 1, column)
    if what == "scatter_add":
        dst = th.zeros((case["rows"], *src.shape[1:]), dtype=src.dtype)
        first = []

        def add():
            dst.index_add_(0, idx, src)
            first.append(dst.clone()) if not first else None
            return first[0]

        return add
    if what == "indices":
        return lambda: th.nonzero(src > float(t)).flatten()
    if what == "values":
        return lambda: th.masked_select(src, src > float(t))
    src.requires_grad_(True)

    def cross_entropy():
        src.grad = None
        loss = th.nn.functional.cross_entropy(src, idx)
        loss.backward()
        return src.grad.numpy(), loss.item()

    return cross_entropy


def jax(case, src, idx, threads):
    import jax as j
    import jax.numpy as np

    j.config.update("jax_enable_x64", case["dtype"] == "f64")
    what, t = case["what"], case.get("threshold")
    src = np.asarray(src)
    idx = np.asarray(idx.astype("int32")) if idx is not None else None
    ready = j.block_until_ready
    if what in ("take", "take_rows", "take_columns"):
        axis = {"take": 0, "take_rows": 0, "take_columns": 1}[what]
        take = j.jit(lambda src, idx: np.take(src, idx, axis=axis))
        return lambda: ready(take(src, idx))
    if what == "pick":
        pick = j.jit(lambda src, idx: src[np.arange(case["rows"]), idx])
        return lambda: ready(pick(src, idx))
    if what == "scatter_add":
        add = j.jit(lambda dst, idx, src: dst.at[idx].add(src))
        dst = np.zeros((case["rows"], *src.shape[1:]), src.dtype)
        return lambda: ready(add(dst, idx, src))
    if what == "indices":
        return lambda: ready(np.flatnonzero(src > t))
    if what == "values":
        return lambda: ready(src[src > t])

    def loss(x):
        picked = np.take_along_axis(x, idx[:, None], 1)[:, 0]
        return np.mean(j.scipy.special.logsumexp(x, axis=1) - picked)

    both = j.jit(j.value_and_grad(loss))

    def cross_entropy():
        value, gradient = ready(both(src))
        return gradient, value

    return cross_entropy


def numba(case, src, idx, threads):
    import math

    import numba as nb
    import numpy as np

    nb.set_num_threads(threads)
    parallel = threads > 1
    jit = nb.njit(parallel=parallel)
    span = nb.prange
    what, t = case["what"], case.get("threshold")
    if what == "take":
        out = np.empty(len(idx), src.dtype)

        @jit
        def take(src, idx, out):
            for i in span(len(idx)):
                out[i] = src[idx[i]]

        return lambda: (take(src, idx, out), out)[1]
    if what == "take_rows":
        out = np.empty((len(idx), src.shape[1]), src.dtype)

        @jit
        def take_rows(src, idx, out):
            for i in span(len(idx)):
                for k in range(src.shape[1]):
                    out[i, k] = src[idx[i], k]

        return lambda: (take_rows(src, idx, out), out)[1]
    if what == "take_columns":
        out = np.empty((src.shape[0], len(idx)), src.dtype)

        @jit
        def take_columns(src, idx, out):
            for i in span(src.shape[0]):
                for k in range(len(idx)):
                    out[i, k] = src[i, idx[k]]

        return lambda: (take_columns(src, idx, out), out)[1]
    if what == "pick":
        out = np.empty(src.shape[0], src.dtype)

        @jit
        def pick(src, idx, out):
            for i in span(src.shape[0]):
                out[i] = src[i, idx[i]]

        return lambda: (pick(src, idx, out), out)[1]
    if what == "scatter_add":
        return None
    if what in ("indices", "values"):
        values = what == "values"
        out = np.empty(len(src), src.dtype if values else np.uint32)

        @nb.njit
        def select(src, t, out):
            hits = 0
            for i in range(len(src)):
                out[hits] = src[i] if values else i
                hits += src[i] > t
            return hits

        return lambda: out[: select(src, t, out)]
    out = np.empty_like(src)

    @nb.njit(parallel=parallel, fastmath=True)
    def softmax_xent(x, y, out):
        rows, classes = x.shape
        loss = 0.0
        for i in span(rows):
            top = x[i, 0]
            for k in range(1, classes):
                top = max(top, x[i, k])
            total = x.dtype.type(0)
            for k in range(classes):
                out[i, k] = math.exp(x[i, k] - top)
                total += out[i, k]
            scale = x.dtype.type(1) / (total * x.dtype.type(rows))
            for k in range(classes):
                out[i, k] *= scale
            out[i, y[i]] -= x.dtype.type(1) / x.dtype.type(rows)
            loss += math.log(total) - (x[i, y[i]] - top)
        return loss / rows

    def both():
        loss = softmax_xent(src, idx, out)
        return out, loss

    return both


main()
