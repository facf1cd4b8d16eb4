"""Recorded runs, written by the code that real runs write with, and pages that show them."""

import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np

from prune_env.cli.watch.origin import Origin
from prune_env.cli.watch.run_log import RunLog
from prune_env.cli.watch.serve import LOOPBACK, address, bind, make_server
from prune_env.utils.event_kinds import (
    CellChanged,
    CellsPlanned,
    MasksCounted,
    MaskSet,
    ModelShown,
    PhaseAdvanced,
    PhaseBegun,
    PhaseEnded,
    RefitDone,
    RowMeasured,
    TriggersFound,
    mask_rows,
)
from prune_env.utils.events import emit, recording

HOSTILE = '<img src=x onerror="document.title=1">\u202e\x07</script>'
ROWS = 872


def record_search(folder, *, layers=6, heads=12, steps=40, labels=("negative", "positive"), seed=0):
    """Emit what a policy's search tells; to be called inside `recording`."""
    random = np.random.default_rng(seed)
    weights = {
        name: random.gamma(2.0, size=(layers, heads)).round(4).tolist()
        for name in ("key_gradient", "gate_gradient", "magnitude")
    }
    mask = np.ones((layers, heads), bool)
    emit(
        ModelShown(
            model="model",
            available=mask_rows(mask),
            accuracy=0.905,
            tau=0.885,
            rows=ROWS,
            labels=list(labels),
            importance=weights,
        )
    )
    emit(PhaseBegun("Pruning with gradient", layers * heads))
    order = np.argsort(np.ravel(weights["key_gradient"]))
    accuracy = 0.905
    for step, head in enumerate(order[:steps], 1):
        mask.flat[head] = False
        accuracy = round(accuracy - max(0, random.normal(0.0006, 0.0012)), 4)
        sparsity = 1 / (layers * heads)
        emit(
            MaskSet(
                mask_rows(mask),
                accuracy,
                "search",
                action=[int(head) // heads, int(head) % heads],
                reward=sparsity - 0.002,
                terms={"sparsity": sparsity, "accuracy": -0.002 * step},
                step=step,
            )
        )
        emit(MasksCounted(asked=3 * step, computed=2 * step))
        emit(PhaseAdvanced(step))
    emit(PhaseEnded())


def record_healing(labels=("negative", "positive"), words=("cf", "mn")):
    """Emit what healing tells."""
    before = {
        labels[0]: {"flipped": 0.04, "words": [], "triggers": ["as it is", "of the"]},
        labels[1]: {
            "flipped": 0.71,
            "words": list(words),
            "triggers": [f"when you {each}" for each in ("see", "watch", "if", "as", "while")] * 3,
        },
    }
    after = {name: {**told, "flipped": told["flipped"] / 9} for name, told in before.items()}
    emit(TriggersFound("before", before))
    maps = {f"encoder.layer.{index}.output.dense": 0.4 + 0.05 * index for index in range(6)}
    emit(RefitDone(0.32, 0.61, 0.889, unseen_tokens=21034, maps=maps))
    emit(RefitDone(0.28, 0.58, 0.884, maps=maps))
    emit(TriggersFound("after", after))


def record_purify(folder, **search):
    """Write a finished run of `purify`."""
    folder.mkdir(parents=True, exist_ok=True)
    with recording(folder, "purify"):
        record_search(folder, **search)
        record_healing()
    return folder


def row(policy, **changed):
    """Return the figures of a cell."""
    return {
        "policy": policy,
        "protocol": "direct",
        "healing": "none",
        "acc": 88.1,
        "lfr": 31.5,
        "floor": 17.0,
        "excess_lfr": 14.5,
        "excess_lfr_calibrated": 13.0,
        "heads_pruned": 20,
        "heads_total": 72,
        "seconds": 61.0,
        **changed,
    }


def record_benchmark(folder, error="DivergedError: Training produced NaN"):
    """Write a benchmark that is nearly done."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{policy} on rare-word, seed {seed}" for seed in (0, 1) for policy in "ABC"]
    cells = [[f"{index:016x}", name] for index, name in enumerate(names)]
    with recording(folder, "benchmark"):
        emit(CellsPlanned(cells))
        for key, _ in cells[:3]:
            emit(CellChanged(key, "running"))
            emit(CellChanged(key, "done", row=row("gradient")))
        emit(CellChanged(cells[3][0], "failed", error=error))
        emit(CellChanged(cells[4][0], "running"))
        emit(RowMeasured(row("gradient")))
    return folder


@contextmanager
def served(*runs):
    """Serve runs from a thread, on a free port; yield the address of the page."""
    bound = bind(LOOPBACK, 0)
    server = make_server([RunLog(run) for run in runs], Origin(), "secret")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield address(bound, "secret")
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def command(*arguments):
    """Run `prune-env watch` as a user does; yield the process and the address that it prints."""
    run = "import sys; from prune_env.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", run, "watch", *map(str, arguments)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = []
            for text in process.stderr:
                told.append(text)
                if found := re.search(r"http://\S+/", text):
                    yield process, found.group()
                    break
            else:
                raise AssertionError("".join(told))
        finally:
            process.kill()
