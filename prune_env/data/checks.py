"""What data must be before a model is trained on it, or judged."""

import warnings

from prune_env.data.dataset import TextDataset
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
