"""Fixtures that every package's tests share.

What they import comes inside them: the process that hands tests to two workers reads this file too,
and the workers wait for it.
"""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.models import LoadedModel

# Two pytest workers share two cores, also with the programs that they start: neither torch nor
# numpy is imported yet.
os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # while tests are collected: nothing is garbage, and a quarter of the time went there

# A suite that a shell started in the background inherits an ignored SIGINT, and so would the
# programs that the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def lasting_objects_are_not_looked_through() -> None:
    """Leave what outlives a file of tests out of the collections of garbage that follow."""
    from prune_env.utils.memory import keep_imports  # noqa: PLC0415

    keep_imports()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the run's own, which all pytest workers share: the tiny model is made once."""
    place = tmp_path_factory.getbasetemp()
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNE_ENV_CACHE", str(place))
        yield place


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready classifier on disk: BERT, 2 layers x 4 heads."""
    from tests.support import write_tiny_folder  # noqa: PLC0415

    return write_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def tiny_model(tiny_folder: Path) -> "LoadedModel":
    """The model of `tiny_folder`, loaded anew for each test, so a test may change it."""
    from prune_env.models import load_classifier  # noqa: PLC0415

    return load_classifier(tiny_folder)


@pytest.fixture(scope="session")
def tiny_data() -> "TextDataset":
    """64 distinct short sentences."""
    from tests.support import tiny_dataset  # noqa: PLC0415

    return tiny_dataset()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with SST-2 and its published trigger texts; skips where it is absent."""
    from tests.support import shared_data  # noqa: PLC0415

    folder = shared_data()
    if folder is None:
        pytest.skip("no real data: set PRUNE_ENV_DATA to a folder that holds sst2/")
    return folder


FIRST = ("test_cluster.py", "test_runner.py")
"""Their minutes are mostly waiting for other processes: at the end nothing runs beside."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each of two pytest workers begin with a file that waits."""
    items.sort(key=lambda item: item.path.name not in FIRST)


def pytest_collection_finish() -> None:
    """Collect garbage again."""
    gc.enable()
