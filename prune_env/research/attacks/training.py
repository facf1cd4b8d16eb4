"""Training a classifier on clean or poisoned rows, once for equal arguments."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune_env.data.dataset import TextDataset
from prune_env.evaluation.scores import Scores, TestSets, score
from prune_env.models import LoadedModel, find_source, inspect_source, load_classifier
from prune_env.models.heads import encoder_of
from prune_env.models.processor import save_processor
from prune_env.models.quiet import writing
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.utils.files import cache_folder, made_once, read_json, shaped, write_json
from prune_env.utils.leases import locked

MANIFEST = "prune_env.json"


@dataclass(frozen=True)
class CachedModel:
    """A trained classifier and its encoder, as the cache keeps them.

    Attributes:
        classifier: Folder of the whole model.
        encoder: Folder of the encoder alone, without the classification head: what the attacker
            releases.
        scores: Of the classifier on the test sets.
        seconds: Wall time of its training, whenever that was; 0 where an older cache has no time.
    """

    classifier: Path
    encoder: Path
    scores: Scores
    seconds: float


def train_classifier(
    source: str | Path,
    data: TextDataset,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    description: str = "Training",
) -> LoadedModel:
    """Fine-tune an encoder with a new head: on poisoned rows it is the attack, on clean FT."""
    loaded = load_classifier(
        source,
        num_labels=len(data.label_names),
        label_names=data.label_names,
        head="new",
        seed=seed,
    )
    fine_tune(loaded.model, loaded.tokenizer, data, settings, seed=seed, description=description)
    return loaded


def read_classifier(folder: Path, label_names: Sequence[str]) -> LoadedModel:
    """Return a classifier that `save_classifier` wrote, for data of these classes."""
    return load_classifier(
        folder, num_labels=len(label_names), label_names=label_names, head="keep"
    )


def save_classifier(loaded: LoadedModel, folder: Path) -> None:
    """Write the classifier and its tokenizer into `folder`."""
    with writing(folder):
        loaded.model.save_pretrained(folder)
    save_processor(loaded.tokenizer, folder)


def save_encoder(loaded: LoadedModel, folder: Path) -> None:
    """Write the encoder without its classification head, and the tokenizer, into `folder`."""
    with writing(folder):
        encoder_of(loaded.model).save_pretrained(folder)
    save_processor(loaded.tokenizer, folder)


def cached_classifier(
    source: str | Path,
    data: TextDataset,
    sets: TestSets,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    description: str = "Training",
    cache: str | Path | None = None,
) -> CachedModel:
    """Return `train_classifier`'s model and its scores, each made once for equal arguments.

    Other test sets measure the same model: one benign model gives the floor of many attacks.

    Args:
        source: Folder of a clean encoder.
        data: Rows to train on.
        sets: Test sets that the scores are measured on.
        settings: Hyperparameters.
        seed: Of the head, the batches and dropout.
        description: Text of the progress bar.
        cache: Folder of the cache; default `cache_folder()`.

    Raises:
        StateError: The cached files are not as they were made.
    """
    identity = {
        "source": inspect_source(find_source(source)).sha256,
        "data": data.sha256,
        "settings": asdict(settings),
        "seed": seed,
    }
    place = Path(cache or cache_folder()) / "models" / name_of(identity)

    def train_into(folder: Path) -> None:
        started = time.perf_counter()
        loaded = train_classifier(source, data, settings, seed=seed, description=description)
        seconds = time.perf_counter() - started
        save_classifier(loaded, folder / "classifier")
        save_encoder(loaded, folder / "encoder")
        write_json(folder / MANIFEST, {"identity": identity, "seconds": seconds})

    made_once(place, train_into)
    made = read_json(place / MANIFEST)
    with shaped(place / MANIFEST, "what a training took", f"delete {place}"):
        seconds = float(made.get("seconds", 0.0))
    parts = (sets.test, sets.triggered, sets.validation)
    measured_on = [[part.sha256 for part in parts if part is not None], sets.target_label]
    path = place / f"scores-{name_of(measured_on)}.json"
    with locked(path):
        if not path.is_file():
            loaded = read_classifier(place / "classifier", data.label_names)
            write_json(path, asdict(score(loaded, sets, max_length=settings.max_length)))
    content = read_json(path)
    with shaped(path, "the scores of a model"):
        scores = Scores.from_json(content)
    return CachedModel(place / "classifier", place / "encoder", scores, seconds)


def name_of(made_from: Any) -> str:
    """Return what a thing in the cache is called, by all that it was made from."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
