"""What data must be before a model is trained on it, or judged."""

import warnings

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import is_pair
from prune_env.data.unlabelled import Unlabelled
from prune_env.errors import DataError


def overlap(a: TextDataset, b: TextDataset) -> int:
    """Count the rows of `b` whose text also stands in `a`, and warn if there are any.

    Texts are compared without case and with runs of white space made one. A test set that shares
    rows with the training set overstates the accuracy.

    Returns:
        Rows of `b` that are found in `a`; 0 warns of nothing.
    """
    known = set(a.keys)
    shared = sum(key in known for key in b.keys)
    if shared:
        warnings.warn(
            f"{shared:,} of {len(b):,} texts of {b.source} also stand in {a.source}: "
            "accuracy on them is overstated. Remove them from one of the two.",
            UserWarning,
            stacklevel=2,
        )
    return shared


def require_all_labels(dataset: TextDataset) -> None:
    """Raise unless every class has a row, as training and stratified measures need.

    Raises:
        DataError: A class has no row.
    """
    if 0 in dataset.counts.values():
        raise DataError(
            f"{dataset.source}: not every class has rows",
            expected=f"rows of each of {', '.join(dataset.label_names)}",
            actual=", ".join(f"{name}: {count}" for name, count in dataset.counts.items()),
            remedy="bring data of every class, or correct the label names",
        )


def require_one_form(*parts: TextDataset | Unlabelled) -> None:
    """Raise unless all texts are pairs, or none is: a model reads either one text or two.

    Raises:
        DataError: Some are and some are not.
    """
    pairs = is_pair(parts[0].texts[0])
    for part in parts:
        others = sum(is_pair(text) != pairs for text in part.texts)
        if others:
            what = ("single texts", "pairs of texts")
            raise DataError(
                f"{part.source} holds {what[not pairs]} beside {what[pairs]} of {parts[0].source}",
                expected=f"{what[pairs]} alone",
                actual=f"{others:,} of {len(part):,} are {what[not pairs]}",
                remedy="read all of them with the same columns (pair_column), or by text_pair",
            )
