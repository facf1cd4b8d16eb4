"""From a record to a surrogate that answers without the model, and how true it is."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from prune_env.env.recorded import FORMAT, RecordedEvaluator
from prune_env.env.text_margins import TextMargins
from prune_env.errors import SettingsError, StateError
from prune_env.research.recording.regression import Floats, KernelFit, Places, cross_validated
from prune_env.research.recording.table import LARGEST_MARGIN, MaskTable
from prune_env.utils.output import check_writable

HELD_OUT = 0.1
"""Part of the families on which the fidelity is measured."""
FOLDS = 5
"""Of the other families, each left out once to choose scale and ridge."""
LEAST, LEAST_FAMILIES = 40, 3
MODES = 64
"""In which the margins of the texts move together; what is left of them is dropped."""
LEAST_SPREAD = 0.05
"""Of a margin about its prediction, in logits: so few masks cannot tell that one is certain."""


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

    A tenth of the families is held out: the masks of one are alike. Ridge and scale are chosen by
    cross-validation on the others, which also tells how far margins are from their predictions.

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
    _check_count(record)
    test, fitted, folds = _split(record.families, np.random.default_rng(seed))
    values = np.stack(list(record.columns.values()), axis=1).astype(np.float64)
    margins = _without_overflow(record.margins.astype(np.float64))
    texts = TextMargins.of(margins[fitted], MODES)
    signs = 1 - 2 * record.masks[:, record.available].astype(np.float64)
    targets = np.concatenate([values, texts.scores(margins)], axis=1)
    count_values = values.shape[1]

    scale, ridge, told = cross_validated(signs, targets, count_values, fitted, folds)
    left = texts.margins(told[:, count_values:]) - margins[fitted]
    spread = np.sqrt((left**2).mean(axis=0) + LEAST_SPREAD**2)
    offset = record.columns["accuracy"].mean() - (margins > 0).mean()  # 0 where all texts are kept
    fit = KernelFit.of(signs, targets, fitted, scale, ridge)
    middle = texts.margins(fit.mean[count_values:])
    arrays = {
        "available": record.available,
        "importance": record.importance,
        "masks": np.packbits(record.masks[fit.centres].reshape(len(fit.centres), -1), axis=1),
        "weights": fit.weights.astype(np.float32),
        "statistics": np.stack(
            [fit.mean[:count_values], values[fitted].min(axis=0), values[fitted].max(axis=0)]
        ),
        "margins": np.stack([middle, spread]).astype(np.float32),
        "offset": np.array([offset]),
        "modes": texts.modes.astype(np.float32),
    }
    facts = {
        **record.identity,
        "columns": list(record.columns),
        "scale": scale,
        "ridge": ridge,
        "recorded": len(record.masks),
        "fitted": len(fitted),
        "held_out": len(test),
    }
    fidelity = _fidelity(record, RecordedEvaluator(arrays, facts, ""), test)
    FORMAT.write(path, {"facts": {**facts, "fidelity": fidelity}}, arrays)
    return fidelity


def _check_count(record: MaskTable) -> None:
    """Raise a `SettingsError` if a record is too small to be fitted and judged."""
    count, families = len(record.masks), int(record.families[-1])
    if count < LEAST or families < LEAST_FAMILIES:
        raise SettingsError(
            "The record holds too few masks",
            expected=f"{LEAST}, in {LEAST_FAMILIES} families beside the unpruned model",
            actual=f"{count}, in {families}",
        )


def _without_overflow(margins: Floats) -> Floats:
    """Return margins in which a text whose logits overflow is as wrong as it is elsewhere at worst.

    What stands there instead would pull at the modes and the spread of every text.
    """
    honest = margins > -LARGEST_MARGIN
    least = np.where(honest, margins, np.inf).min(axis=0)
    return np.maximum(margins, np.where(honest.any(axis=0), least, -LARGEST_MARGIN))


def _split(
    families: npt.NDArray[np.uint32], random: np.random.Generator
) -> tuple[Places, Places, Places]:
    """Return which masks judge the fit, which are fitted, and the fold of each of these.

    Whole families go together. The unpruned model, where all play begins, is the first that is
    fitted; the others are in random order, so that any of them may become centres.
    """
    others = random.permutation(np.unique(families[1:]))
    test = max(1, round(HELD_OUT * len(others)))
    places = 1 + random.permutation(len(families) - 1)
    judging = np.isin(families[places], others[:test])
    fitted = np.concatenate([[0], places[~judging]])
    fold = np.zeros(families.max() + 1, np.int64)
    fold[others] = np.arange(len(others)) % FOLDS
    return places[judging], fitted, fold[families[fitted]]


def _fidelity(record: MaskTable, played: RecordedEvaluator, test: Places) -> dict[str, float]:
    """Return the rank correlation of what is played and what was measured, by column."""
    from scipy.stats import spearmanr  # noqa: PLC0415 - a second of imports

    fidelity = {}
    for name, column in record.columns.items():
        predicted, measured = played.column(name, record.masks[test]), column[test]
        constant = np.ptp(predicted) == 0 or np.ptp(measured) == 0
        fidelity[name] = 0.0 if constant else float(spearmanr(predicted, measured).statistic)
    return fidelity
