"""Results on disk: one JSON file a cell, written whole, made by one process."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.research.benchmark.record import CellRecord
from prune_env.utils.arrays import unpacked
from prune_env.utils.files import new_folder, read_json, shaped, write_bytes, write_json
from prune_env.utils.leases import locked
from prune_env.utils.limits import STATE_BYTES
from prune_env.utils.reading import read_bounded

MODELS = "models"
KEY = re.compile(r"[0-9a-f]{16}")
Embeddings = dict[str, npt.NDArray[np.floating[Any]]]
KINDS = {"clean_target", "clean_other", "triggered"}
"""Of texts whose vectors are kept."""


class Store:
    """The results of one run folder.

    Args:
        folder: The run folder; `cells/` in it holds the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"

    def has(self, key: str) -> bool:
        """Whether the cell has a result, be it a failure.

        Whatever has its name counts: a link to nothing would be in the way of any result, and the
        cell be run for ever. `read` says what is wrong with it.
        """
        return os.path.lexists(self._path(key))

    def read(self, key: str) -> CellRecord:
        """Return the result of a cell.

        Raises:
            StateError: There is none, or the file is damaged.
            SettingsError: Its row has another shape.
        """
        path = self._path(key)
        value = read_json(path)
        with shaped(path, "the result of a cell", "delete it and run the benchmark again"):
            return CellRecord.from_json(value, str(path))

    def write(self, key: str, value: dict[str, Any], embeddings: Embeddings | None = None) -> None:
        """Write the result of a cell and its vectors, unless another process was quicker."""
        if embeddings is not None:
            self._write_embeddings(key, embeddings)
        write_json(self._path(key), value, first=True)

    def addresses(self) -> list[str]:
        """Return the addresses of all results, whatever grid they are of."""
        return [path.stem for path in self._cells.glob("*.json") if KEY.fullmatch(path.stem)]

    def discard(self, key: str) -> None:
        """Remove a result, so that the cell is run again."""
        self._path(key).unlink(missing_ok=True)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Claim a cell for the length of the body; yields whether it was free."""
        with locked(self.folder / "locks" / key, wait=False) as free:
            yield free

    @contextmanager
    def claim_group(self, name: str) -> Iterator[bool]:
        """Claim all cells of one attack and seed, so that other workers prefer other models."""
        with locked(self.folder / "locks" / f"group-{name}", wait=False) as free:
            yield free

    def read_embeddings(self, key: str) -> Embeddings | None:
        """Return the [CLS] vectors of a cell's model, or None if there are none.

        Raises:
            StateError: The file holds something else.
        """
        path = self._embeddings(key)
        if not path.is_file():
            return None
        with shaped(path, "vectors", "delete it; the report does without"):
            data = read_bounded(path, STATE_BYTES, StateError)
            stored = unpacked(data, f"{path} unpacks to too much")
            whole = set(stored) == KINDS and all(
                each.ndim == 2 and np.isfinite(each).all() for each in stored.values()
            )
            if not whole or len({each.shape[1] for each in stored.values()}) != 1:
                raise ValueError(", ".join(f"{name} {x.shape}" for name, x in stored.items()))
            return stored

    @contextmanager
    def keep_model(self, key: str) -> Iterator[Path]:
        """Give a folder to fill with a cell's model; it takes the place of an older one."""
        place = self.folder / MODELS / key
        shutil.rmtree(place, ignore_errors=True)  # of a run that was cut off before the result
        with new_folder(place, shared=True) as folder:
            yield folder

    def _write_embeddings(self, key: str, values: Embeddings) -> None:
        """Keep the [CLS] vectors of a cell's model, for the t-SNE figure."""
        buffer = BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **values)
        write_bytes(self._embeddings(key), buffer.getvalue())

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):  # a plan that was edited could lead anywhere
            raise StateError(
                f"{key!r:.80} is no address of a result",
                expected="hexadecimal digits",
                remedy="run the benchmark again",
            )
        return self._cells / f"{key}.json"

    def _embeddings(self, key: str) -> Path:
        return self.folder / "embeddings" / f"{key}.npz"
