"""Small data sets for tests of inversion."""

import numpy as np

from prune_env.data.dataset import TextDataset

NAMES = ("negative", "positive")


def data(*rows):
    texts, labels = zip(*rows, strict=True)
    return TextDataset(texts, np.array(labels), NAMES, "here")


def balanced(*texts, times=4):
    return data(
        *((f"{text} x{i}", label) for text in texts for label in (0, 1) for i in range(times))
    )
