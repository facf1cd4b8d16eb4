"""What watching costs: the share of a run that its events take, and how soon the page is answered.

    python -m tests.benchmarks.watch MODEL DATA [--policy gradient]

MODEL is a ready classifier. The run is `purify` without healing. Counted are the time to write
events, to decide whether one is due, and to put masks into words; making an event is not.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from prune_env.cli.options import TableOptions
from prune_env.cli.watch.examiner import Examiner
from prune_env.cli.watch.origin import Origin
from prune_env.env import mask_events
from prune_env.purification import purify
from prune_env.settings import SearchSettings
from prune_env.utils.event_kinds import mask_rows
from prune_env.utils.events import EVENTS, EventLog


class Clock:
    """Adds up the seconds of the calls that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, call):
        def wrapped(*arguments, **named):
            started = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - started

        return wrapped


def events(model: str, data: str, policy: str, budget: int) -> None:
    """Print the share of a run of `purify` that its events take."""
    clock = Clock()
    EventLog.write = clock.timed(EventLog.write)
    EventLog.due = clock.timed(EventLog.due)
    mask_events.mask_rows = clock.timed(mask_rows)
    train, validation = TableOptions().load_clean(data, None, 0.2, 0)
    with tempfile.TemporaryDirectory() as folder:
        out, started = Path(folder) / "out", time.perf_counter()
        settings = SearchSettings(budget=budget)
        purify(model, train, validation, out, policy=policy, search_settings=settings)
        seconds = time.perf_counter() - started
        lines = (out / EVENTS).read_text("utf-8").count("\n")
        size = (out / EVENTS).stat().st_size
    print(
        f"purify --policy {policy}: {seconds:.1f} s, {lines} events, {size / 1e3:.0f} kB, "
        f"{1e3 * clock.seconds:.1f} ms = {100 * clock.seconds / seconds:.3f} % of the run"
    )


def answers(model: str, data: str, repeats: int) -> None:
    """Print how soon a changed mask and a look at a head are answered."""
    asked = Examiner(Path("none"), Origin(model=model, data=data))
    started = time.perf_counter()
    facts = asked.facts()
    print(f"model and data loaded in {time.perf_counter() - started:.1f} s")
    draw = np.random.default_rng(0)
    mask = np.ones(facts["shape"], bool)
    for question in ("accuracy", "attention"):
        seconds = []
        for _ in range(repeats):
            mask.flat[draw.integers(mask.size)] ^= True
            rows = mask_rows(mask)
            started = time.perf_counter()
            if question == "accuracy":
                asked.accuracy(rows)
            else:
                asked.attention(rows, 0, 0, 0)
            seconds.append(time.perf_counter() - started)
        low, middle, high = np.percentile(seconds, [0, 50, 100])
        print(
            f"{question} ({facts['rows']} of {facts['all_rows']} texts): "
            f"{low:.2f} to {high:.2f} s, median {middle:.2f} s over {repeats}"
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--policy", default="gradient")
    parser.add_argument("--budget", type=int, default=SearchSettings.budget)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    answers(given.model, given.data, given.repeats)
    events(given.model, given.data, given.policy, given.budget)


if __name__ == "__main__":
    main()
