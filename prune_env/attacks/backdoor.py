"""Training what an attacker releases, and the benign model that gives the floor."""

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pooch

from prune_env.data.dataset import TextDataset
from prune_env.files import new_folder, read_json, write_json
from prune_env.models import LoadedModel, inspect_source, load_classifier
from prune_env.models.loading import find_source
from prune_env.scores import Scores, TestSets, score
from prune_env.settings import FineTuneSettings
from prune_env.training import fine_tune

MANIFEST = "prune_env.json"


@dataclass(frozen=True)
class CachedModel:
    """A trained classifier and its encoder, as the cache keeps them.

    Attributes:
        classifier: Folder of the whole model.
        encoder: Folder of the encoder alone, without the classification head: what the attacker
            releases.
        scores: Of the classifier on the test sets.
        seconds: Wall time of its training; 0 when it came from the cache.
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


def save_encoder(loaded: LoadedModel, folder: Path) -> None:
    """Write the encoder without its classification head, and the tokenizer, into `folder`."""
    loaded.model.base_model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def cached_classifier(
    source: str | Path,
    data: TextDataset,
    sets: TestSets,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    description: str = "Training",
    cache: Path | None = None,
) -> CachedModel:
    """Return `train_classifier`'s model and its scores, made once for equal arguments.

    Args:
        source: Folder of a clean encoder.
        data: Rows to train on.
        sets: Test sets that the scores are measured on.
        settings: Hyperparameters.
        seed: Of the head, the batches and dropout.
        description: Text of the progress bar.
        cache: Folder of the cache; default `cache_folder()`.
    """
    identity = {
        "source": inspect_source(find_source(source)).sha256,
        "data": data.sha256,
        "sets": [part.sha256 for part in (sets.test, sets.triggered, sets.validation) if part],
        "target": sets.target_label,
        "settings": asdict(settings),
        "seed": seed,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    place = (cache or cache_folder()) / "models" / key
    seconds = 0.0
    if not (place / MANIFEST).is_file():
        with new_folder(place) as folder:
            started = time.perf_counter()
            loaded = train_classifier(source, data, settings, seed=seed, description=description)
            seconds = time.perf_counter() - started
            loaded.model.save_pretrained(folder / "classifier")
            loaded.tokenizer.save_pretrained(folder / "classifier")
            save_encoder(loaded, folder / "encoder")
            manifest: dict[str, Any] = {
                "identity": identity,
                "scores": asdict(score(loaded, sets)),
            }
            write_json(folder / MANIFEST, manifest)
    stored = read_json(place / MANIFEST)
    return CachedModel(
        place / "classifier", place / "encoder", Scores.from_json(stored["scores"]), seconds
    )


def cache_folder() -> Path:
    """Return where models that are made once are kept: $PRUNE_ENV_CACHE, or the user's cache."""
    chosen = os.environ.get("PRUNE_ENV_CACHE")
    return Path(chosen) if chosen else Path(pooch.os_cache("prune-env"))
