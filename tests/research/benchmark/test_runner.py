import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from prune_env.cli import main
from prune_env.data.dataset import Splits
from prune_env.data.loading import load_data
from prune_env.data.sst2 import SST2_SHA256
from prune_env.models import load_mask
from prune_env.research.attacks import AttackSources
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.config import read_config
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.report import write_report
from prune_env.research.benchmark.results import read_results
from prune_env.research.benchmark.runner import RunSettings, data_identity, run_benchmark
from prune_env.research.benchmark.store import Store
from prune_env.utils.files import sha256_of
from tests.research.benchmark import plugin
from tests.research.benchmark.support import write_grid
from tests.support import tiny_dataset

ROOT = Path(__file__).parents[3]
CODE = "import sys; from prune_env.cli import main; sys.exit(main(sys.argv[1:]))"


def results(folder: Path) -> dict[str, dict]:
    """Return what the cells found, by key, without what differs between equal runs."""
    out = {}
    for path in (folder / "cells").glob("*.json"):
        value = json.loads(path.read_text())
        assert value["status"] == "done", value
        found = value["found"] and {**value["found"], "seconds": 0}
        out[path.stem] = ({**value["row"], "seconds": 0}, found)
    return out


def begin(grid: Path, out: Path) -> subprocess.Popen:
    arguments = ["benchmark", str(grid), "--out", str(out), "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def wait_for_cells(out: Path, count: int, process: subprocess.Popen) -> None:
    wait_for_files(out, "cells", count, process)


def wait_for_files(folder: Path, part: str, count: int, process: subprocess.Popen) -> None:
    """Wait until a process has written so many JSON files into a part of a folder."""
    end = time.monotonic() + 200
    while len(list((folder / part).glob("*.json"))) < count:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def have_ended(processes: list[psutil.Process]) -> bool:
    """Whether all end within some time; what init has not collected yet has ended, too."""

    def runs(process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    end = time.monotonic() + 100
    while any(map(runs, processes)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(runs, processes))


@contextmanager
def logs_told(out: Path) -> Iterator[None]:
    """Print what the workers logged if the body fails or takes too long."""
    try:
        yield
    except BaseException:
        for log in (out / "logs").glob("*"):
            print(log.read_text())
        raise


def write_tsv(path: Path, rows: list[tuple[str, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n")


def test_a_run_that_was_interrupted_and_killed_ends_with_the_results_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = write_grid(tmp_path, ["gradient", "greedy", "waits"], (0, 1), ("direct", "refinetune"))
    config = read_config(grid)
    clean = load_data(config.data)
    settings = RunSettings(threads=1, plugins=(plugin.__name__,))
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache-1"))
    unbroken = run_benchmark(config, clean, tmp_path / "unbroken", settings)
    assert unbroken == {"done": len(config.cells()), "failed": 0}

    # While the file is there some cells cannot end, so a kill never comes after the last one.
    hold = tmp_path / "hold"
    hold.touch()
    plugin.install(tmp_path)
    monkeypatch.setenv(plugin.HOLD, str(hold))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache-2"))
    out = tmp_path / "broken"
    interrupted = begin(grid, out)
    wait_for_cells(out, 1, interrupted)
    workers = psutil.Process(interrupted.pid).children(recursive=True)
    assert workers
    interrupted.send_signal(signal.SIGINT)
    _, messages = interrupted.communicate(timeout=100)
    assert interrupted.returncode == 128 + signal.SIGINT, messages
    assert "Traceback" not in messages
    assert have_ended(workers)
    assert not list(tmp_path.rglob(".*.json.*"))

    killed = begin(grid, out)
    wait_for_cells(out, 3, killed)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    # Workers do not outlive their parent.
    assert have_ended(workers)
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}
    assert len(before) < len(config.cells())
    hold.unlink()

    reported: list[Cell] = []
    with logs_told(out):
        counts = run_benchmark(
            config, clean, out, settings, on_cell=lambda cell, _: reported.append(cell)
        )
    assert counts == unbroken
    assert len(reported) == len(config.cells()) - len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none ran twice
    assert results(out) == results(tmp_path / "unbroken")

    again: list[Cell] = []
    run_benchmark(config, clean, out, on_cell=lambda cell, _: again.append(cell))
    assert again == []


def test_cells_that_raise_die_or_hang_are_failures_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    config = read_config(write_grid(tmp_path, ["raises", "dies", "random"]))
    clean, out = load_data(config.data), tmp_path / "run"
    settings = RunSettings(threads=1, plugins=(plugin.__name__,))
    said: dict[str, str] = {}

    def hear(cell: Cell, record: CellRecord) -> None:
        said[cell.policy] = record.error

    counts = run_benchmark(config, clean, out, settings, on_cell=hear)
    assert counts == {"done": 4, "failed": 2}
    assert "RuntimeError: no luck" in said["raises"]
    assert "status -9" in said["dies"]
    assert said["random"] == said["ft"] == ""

    more = read_config(write_grid(tmp_path, ["raises", "dies", "random", "hangs"]))
    counts = run_benchmark(more, clean, out, replace(settings, limit_s=3), on_cell=hear)
    assert counts == {"done": 4, "failed": 3}
    assert "longer than 3 s" in said["hangs"]

    report = write_report(out).read_text()
    for policy in ("raises", "dies", "hangs"):
        line = next(line for line in report.splitlines() if line.startswith(f"| {policy} "))
        assert "failed" in line
        assert "0.0" not in line
    assert "no luck" in report.partition("## Failed")[2]


def test_an_identity_names_the_files_of_an_attack_that_are_not_the_published_ones(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = Splits(*(tiny_dataset(8, seed) for seed in range(3)))
    names = ("hiddenkiller/train.tsv", "hiddenkiller/test.tsv", "stylebkd-bible/test.tsv")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"published {name}")
        monkeypatch.setitem(SST2_SHA256, name, sha256_of(tmp_path / name))
    attacks = ("hiddenkiller", "stylebkd-bible", "rare-word")

    plain = data_identity(clean, str(tiny_folder))

    def identity() -> dict[str, str]:
        return plain | AttackSources(tmp_path).identity(attacks)

    assert identity() == plain  # so what was made from the published files keeps its address
    (tmp_path / names[1]).write_text("other texts")
    assert identity() == {**plain, names[1]: sha256_of(tmp_path / names[1])}
    first = identity()
    (tmp_path / names[1]).write_text("still other texts")
    assert identity() != first


def test_other_texts_of_a_published_attack_give_other_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    grid = write_grid(tmp_path, ["oracle"])
    grid.write_text(grid.read_text().replace("rare-word", "hiddenkiller"))
    config = read_config(grid)
    clean, files, out = load_data(config.data), tmp_path / "sst2", tmp_path / "run"
    poisoned = [(f"if so , {text}", 1) for text in clean.train.where(0).texts]
    triggered = [(f"if so , {text}", 1) for text in clean.test.where(0).texts]
    plain = list(zip(clean.train.texts, clean.train.labels, strict=True))
    write_tsv(files / "clean" / "train.tsv", plain)
    write_tsv(files / "hiddenkiller" / "train.tsv", plain + poisoned)
    write_tsv(files / "hiddenkiller" / "test.tsv", triggered)

    def run() -> dict[str, int]:
        sources = AttackSources(files)
        return run_benchmark(config, clean, out, RunSettings(threads=1), sources=sources)

    assert run() == {"done": 4, "failed": 0}
    first = results(out)
    write_tsv(files / "hiddenkiller" / "test.tsv", triggered[:10])
    assert run() == {"done": 4, "failed": 0}
    second = {key: each for key, each in results(out).items() if key not in first}
    assert len(second) == 4
    assert len(list((out / "masks").glob("*.json"))) == 4  # of ft and of the oracle, twice
    report = write_report(out).read_text()
    assert re.search(r"Texts from .*test\.tsv \(SHA-256 \w{12}, not as published\)", report)


def test_an_attack_from_files_is_run_and_the_report_names_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    grid = write_grid(tmp_path, ["oracle"])
    clean, files, out = load_data(tmp_path / "data"), tmp_path / "mine", tmp_path / "run"
    texts = list(zip(clean.train.texts, clean.train.labels, strict=True))
    poisoned = [(f"if so , {text}", 1) for text in clean.train.where(0).texts[:10]]
    write_tsv(files / "bad.tsv", poisoned + texts[::-1])
    triggered = [(f"if so , {text}", 0) for text in clean.test.where(0).texts]
    write_tsv(files / "test.tsv", triggered)
    attack = f'[[attacks]]\nname = "mine"\npoisoned = "{files / "bad.tsv"}"\n'
    attack += f'triggered = "{files / "test.tsv"}"\n'
    grid.write_text(grid.read_text().replace("rare-word", "mine") + attack)
    assert main(["benchmark", str(grid), "--out", str(out), "--threads", "1"]) == 0
    first = results(out)
    assert {row["attack"] for row, _ in first.values()} == {"mine"}
    report = write_report(out).read_text()
    hashes = {name: sha256_of(files / name)[:12] for name in ("bad.tsv", "test.tsv")}
    assert (
        f"Texts from bad.tsv (poisoned, SHA-256 {hashes['bad.tsv']}), test.tsv (triggered, SHA-256 "
        f"{hashes['test.tsv']}); target label 1, rate 0.33.\n"
    ) in report
    assert str(files) not in report
    write_tsv(files / "test.tsv", triggered[:10])
    assert main(["benchmark", str(grid), "--out", str(out), "--threads", "1"]) == 0
    assert len(set(results(out)) - set(first)) == 4


def test_models_are_kept_where_asked_and_measured_on_another_trigger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    grid, out = write_grid(tmp_path, ["gradient", "random-ensemble"]), tmp_path / "run"
    run = ["benchmark", str(grid), "--out", str(out), "--threads", "1", "--keep-models"]
    assert main(run) == 0
    done = read_results(out).done
    assert {each.key for each in done} == {path.name for path in (out / "models").iterdir()}
    data = ["--data", str(tmp_path / "data" / "test.jsonl"), "--json"]
    capsys.readouterr()
    for each in done:
        model = ["evaluate", str(out / "models" / each.key), *data]
        assert main([*model, "--attack", "rare-word"]) == 0
        again = json.loads(capsys.readouterr().out)["model"]
        assert again["acc"]["percent"] == pytest.approx(each.figure("acc"))
        assert again["lfr"]["percent"] == pytest.approx(each.figure("lfr"))
        assert main([*model, "--attack", "bible-style"]) == 0
        capsys.readouterr()
    kept = next(each for each in done if each.cell.policy == "gradient")
    mask = load_mask(out / "models" / kept.key / "mask.json")
    assert np.array_equal(mask[None], kept.record.masks)


def test_a_cell_is_claimed_by_one_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from prune_env.research.benchmark.store import Store\n"
        "for _ in sys.stdin:\n"
        "    with Store(Path(sys.argv[1])).claim('a') as free:\n"
        "        print(free, flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def other() -> str:
            process.stdin.write("again\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        with store.claim("a") as free:
            assert free
            assert other() == "False"
            with store.claim("a") as second, store.claim("b") as elsewhere:
                assert (second, elsewhere) == (False, True)
        assert other() == "True"


@pytest.mark.parametrize("case", ["inside the model", "an attack on other data", "mixed with more"])
def test_what_no_cell_could_do_is_refused_before_anything_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    grid, out = write_grid(tmp_path, ["gradient"]), tmp_path / "run"
    text = grid.read_text()
    if case == "inside the model":
        out = tmp_path / "encoder"
        said = "lies inside the model's own folder"
    elif case == "an attack on other data":
        text = text.replace("rare-word", "image-patch")
        said = "image-patch has a trigger of images"
    else:
        train = load_data(tmp_path / "data").train
        write_tsv(tmp_path / "mixed.tsv", list(zip(train.texts, train.labels, strict=True)))
        files = f'poisoned = "{tmp_path}/mixed.tsv"\ntriggered = "{tmp_path}/mixed.tsv"'
        text = text.replace("[models]", "[models]\ntrain_sentences = 20")
        text = text.replace("rare-word", "mine") + f'[[attacks]]\nname = "mine"\n{files}\n'
        said = "mixed with all clean sentences"
    grid.write_text(text)
    before = sorted(tmp_path.rglob("*"))
    assert main(["benchmark", str(grid), "--out", str(out), "--threads", "1"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value"), [("limit-minutes", "0"), ("threads", "0"), ("threads", "100000")]
)
def test_a_limit_is_named_as_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture, option: str, value: str
) -> None:
    grid = write_grid(tmp_path, ["gradient"])
    assert main(["benchmark", str(grid), f"--{option}", value]) == 2
    assert f"{option.replace('-', '_')} is out of range" in capsys.readouterr().err
