"""How well answers tell classes apart, whatever their thresholds: smoother than accuracy."""

import numpy as np
from scipy.stats import rankdata

from prune_env.evaluation.metrics import Labels, Logits, margin


def separation(logits: Logits, labels: Labels) -> float:
    """Return the mean area under the ROC curve of each class against the others, 0 to 1.

    The area is the chance that a text of the class has a larger margin for it than another text. A
    small change of the answers moves it a little, where accuracy moves by whole rows or not at all.

    Args:
        logits: Float (N, C), finite.
        labels: Int (N,). A class that no row has, or every row, counts for nothing.

    Returns:
        NaN where there is no such pair of rows.

    Source: Hanley and McNeil (Radiology 1982); over classes Provost and Domingos (2003), each
    class counted alike.

    Example:
        >>> separation(np.array([[2.0, 0], [1, 0], [0, 3], [2, 0]]), np.array([0, 0, 1, 1]))
        0.625
    """
    areas = []
    for target in range(logits.shape[1]):
        own = labels == target
        positives, negatives = int(own.sum()), int((~own).sum())
        if positives and negatives:
            ranks = rankdata(margin(logits, target))[own].sum()
            areas.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(areas)) if areas else float("nan")
