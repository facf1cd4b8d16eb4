"""From a record to a surrogate that answers without the model, and how true it is."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from prune_env.env.recorded import FORMAT
from prune_env.errors import SettingsError, StateError
from prune_env.research.recording.table import MaskTable
from prune_env.utils.output import check_writable

CENTRES = 4_000
"""Measured masks that a prediction looks at; more only judge the fit."""
HELD_OUT = 0.1
LEAST = 40
RIDGES = (1e-6, 1e-4, 1e-2)
SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Distances at which masks are alike, as shares of the number of heads."""

Floats = npt.NDArray[np.float64]


def check_places(out: str | Path, surrogate: str | Path | None) -> None:
    """Find out before the work whether a record and its surrogate can be written.

    Args:
        out: The record, still to be made, or to go on with.
        surrogate: The surrogate's file; None for none.

    Raises:
        SettingsError: A name does not end in `.npz`, both are one file, one cannot be written, or
            the surrogate's file holds something else, such as a record.
    """
    for name, path in (("out", out), ("surrogate", surrogate)):
        if path is not None and Path(path).suffix != ".npz":
            raise SettingsError(f"{name} must be an .npz file", expected="NAME.npz", actual=path)
    check_writable(out)
    if surrogate is None:
        return
    if Path(out).resolve() == Path(surrogate).resolve():
        raise SettingsError(
            "The surrogate would replace the record",
            expected="two files, out and surrogate",
            actual=f"{out} and {surrogate}",
            remedy="choose another --surrogate",
        )
    check_surrogate_place(surrogate)


def check_surrogate_place(path: str | Path) -> None:
    """Raise a `SettingsError` if no file can be written there, or one is and is no surrogate."""
    check_writable(path)
    if not Path(path).exists():
        return
    try:
        with FORMAT.reading(path):
            pass
    except StateError as error:
        raise SettingsError(
            f"{path} is there already, and is no surrogate, which a new one may replace",
            expected="a free name, or a surrogate",
            actual=error,
            remedy="choose another --surrogate",
        ) from None


def fit_surrogate(record: MaskTable, path: str | Path, *, seed: int = 0) -> dict[str, float]:
    """Fit kernel ridge regression to a record, and write it; see `RecordedEvaluator`.

    A tenth of the masks, and whatever is left of more than 4,000, are held out. Ridge and scale are
    chosen on another tenth of those that are fitted.

    Args:
        record: At least 40 masks.
        path: The `.npz` of the surrogate.
        seed: Of the split.

    Returns:
        Spearman's rank correlation of predicted and measured values on the masks held out, by
        column; 0 where either is constant.

    Raises:
        SettingsError: The record holds too few masks, or the file is no surrogate's.
    """
    check_surrogate_place(path)
    count = len(record.masks)
    if count < LEAST:
        raise SettingsError("The record holds too few masks", expected=LEAST, actual=count)
    names = list(record.columns)
    values = np.stack([record.columns[name] for name in names], axis=1).astype(np.float64)
    order = np.random.default_rng(seed).permutation(np.arange(1, count))
    held = max(1, round(HELD_OUT * count), count - 1 - CENTRES)
    test, train = order[:held], np.concatenate([[0], order[held:]])
    signs = 1 - 2 * record.masks[:, record.available].astype(np.float64)
    scale, ridge = _choose(signs[train], values[train])
    weights, mean = _solve(signs[train], values[train], scale, ridge)
    limits = values[train].min(axis=0), values[train].max(axis=0)
    predicted = np.clip(_kernel(signs[test], signs[train], scale) @ weights + mean, *limits)
    fidelity = {
        name: _spearman(predicted[:, place], values[test, place])
        for place, name in enumerate(names)
    }
    facts = {
        **record.identity,
        "columns": names,
        "scale": scale,
        "ridge": ridge,
        "recorded": count,
        "fitted": len(train),
        "held_out": len(test),
        "fidelity": fidelity,
    }
    arrays = {
        "available": record.available,
        "importance": record.importance,
        "masks": np.packbits(record.masks[train].reshape(len(train), -1), axis=1),
        "weights": weights.astype(np.float32),
        "statistics": np.stack([mean, *limits]),
    }
    FORMAT.write(path, {"facts": facts}, arrays)
    return fidelity


def _choose(signs: Floats, values: Floats) -> tuple[float, float]:
    """Return the scale and the ridge that leave the least error on a tenth."""
    part = max(1, len(signs) // 10)
    spread = np.maximum(values.std(axis=0), 1e-9)
    errors = {}
    for share in SCALES:
        scale = share * signs.shape[1]
        for ridge in RIDGES:
            weights, mean = _solve(signs[part:], values[part:], scale, ridge)
            predicted = _kernel(signs[:part], signs[part:], scale) @ weights + mean
            error = ((predicted - values[:part]) / spread) ** 2
            errors[float(error.mean())] = scale, ridge
    return errors[min(errors)]


def _solve(signs: Floats, values: Floats, scale: float, ridge: float) -> tuple[Floats, Floats]:
    mean = values.mean(axis=0)
    kernel = _kernel(signs, signs, scale) + ridge * np.eye(len(signs))
    return np.linalg.solve(kernel, values - mean), mean


def _kernel(left: Floats, right: Floats, scale: float) -> Floats:
    apart = (left.shape[1] - left @ right.T) / 2
    kernel: Floats = np.exp(-apart / scale)
    return kernel


def _spearman(predicted: Floats, measured: Floats) -> float:
    from scipy.stats import spearmanr  # noqa: PLC0415 - a second of imports

    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(spearmanr(predicted, measured).statistic)
