"""Training what an attacker releases, and the benign model that gives the floor."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedModel

from prune_env.data.dataset import Splits, TextDataset
from prune_env.data.loading import load_named
from prune_env.errors import SettingsError
from prune_env.evaluation.scores import Scores, TestSets, score
from prune_env.models import LoadedModel, find_source, inspect_source, load_classifier
from prune_env.models.processor import save_processor
from prune_env.models.quiet import writing
from prune_env.research.attacks.attack import AttackData, AttackSettings
from prune_env.research.attacks.catalog import make_attack
from prune_env.research.attacks.sources import AttackSources
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
        seconds: Wall time of its training; 0 when it came from the cache.
    """

    classifier: Path
    encoder: Path
    scores: Scores
    seconds: float


@dataclass(frozen=True)
class ModelSettings:
    """Everything that the models of one attack depend on.

    Attributes:
        model: Clean encoder that is attacked; a folder or a name.
        attack: The attack.
        train_sentences: Clean training sentences that attacker and defender use; 0 takes all.
        attacker: Training of the backdoored model, and of the benign one, without the poison.
        defender: Fine-tuning on clean data, of every defence.
        seed: Each seed makes other models.
    """

    model: str = "minilm"
    attack: AttackSettings = field(default_factory=AttackSettings)
    train_sentences: int = 1600
    attacker: FineTuneSettings = field(default_factory=lambda: FineTuneSettings(epochs=4))
    defender: FineTuneSettings = field(default_factory=FineTuneSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if self.train_sentences < 0:
            raise SettingsError(
                "train_sentences is out of range", expected=">= 0", actual=self.train_sentences
            )


@dataclass(frozen=True)
class AttackedModels:
    """What a defence is tried on, and what it is judged by.

    Attributes:
        settings: What it was made from.
        clean: The clean data that attacker and defender share.
        attack: The attack, with its texts.
        sets: The test sets.
        benign: The model that was never poisoned; its LFR is the floor.
        backdoored: The attacker's model.
    """

    settings: ModelSettings
    clean: Splits
    attack: AttackData
    sets: TestSets
    benign: CachedModel
    backdoored: CachedModel


def cached_models(
    settings: ModelSettings,
    clean: Splits,
    *,
    sources: AttackSources | None = None,
    cache: str | Path | None = None,
) -> AttackedModels:
    """Return the benign and the backdoored model of an attack, each trained once.

    Args:
        settings: What to make.
        clean: The data set.
        sources: Where the texts of published attacks, and of the user's own, come from.
        cache: Folder of the cache; default `cache_folder()`.

    Raises:
        SettingsError: The attack's file is mixed with more sentences than `train_sentences`.
    """
    sources = sources or AttackSources()
    sentences, rows = settings.train_sentences, len(clean.train)
    if 0 < sentences < rows:
        own = sources.find_own(settings.attack.attack)
        if own is not None and own.files.poison == "mixed":
            raise SettingsError(
                f"{own.files.name} is mixed with all clean sentences",
                expected=f"train_sentences = 0, or {rows} or more",
                actual=sentences,
            )
        part = clean.train.split(sentences / rows, settings.seed)[1]
        clean = Splits(part, clean.validation, clean.test)
    attack = make_attack(settings.attack, clean, sources)
    sets = TestSets(clean.test, attack.triggered, clean.validation, settings.attack.target_label)
    benign, backdoored = (
        cached_classifier(
            settings.model,
            data,
            sets,
            settings.attacker,
            seed=settings.seed,
            description=f"Training the {kind} model",
            cache=cache,
        )
        for kind, data in (("benign", clean.train), ("backdoored", attack.poisoned))
    )
    return AttackedModels(settings, clean, attack, sets, benign, backdoored)


def cached_demo_model(cache: str | Path | None = None) -> Path:
    """Return the folder of the demo's suspicious classifier, trained once.

    It is the backdoored MiniLM after clean fine-tuning (FT) on Rotten Tomatoes: what a defender
    has before pruning.
    """
    settings = ModelSettings()
    models = cached_models(settings, load_named("rotten-tomatoes"), cache=cache)
    finetuned = cached_classifier(
        models.backdoored.encoder,
        models.clean.train,
        models.sets,
        settings.defender,
        seed=settings.seed,
        description="Fine-tuning the suspicious model",
        cache=cache,
    )
    return finetuned.classifier


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


def save_classifier(loaded: LoadedModel, folder: Path) -> None:
    """Write the classifier and its tokenizer into `folder`."""
    with writing(folder):
        loaded.model.save_pretrained(folder)
    save_processor(loaded.tokenizer, folder)


def save_encoder(loaded: LoadedModel, folder: Path) -> None:
    """Write the encoder without its classification head, and the tokenizer, into `folder`."""
    with writing(folder):
        cast(PreTrainedModel, loaded.model.base_model).save_pretrained(folder)
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
    place = Path(cache or cache_folder()) / "models" / _name(identity)
    seconds = 0.0

    def train_into(folder: Path) -> None:
        nonlocal seconds
        started = time.perf_counter()
        loaded = train_classifier(source, data, settings, seed=seed, description=description)
        seconds = time.perf_counter() - started
        save_classifier(loaded, folder / "classifier")
        save_encoder(loaded, folder / "encoder")
        write_json(folder / MANIFEST, {"identity": identity})

    made_once(place, train_into)
    parts = (sets.test, sets.triggered, sets.validation)
    measured_on = [[part.sha256 for part in parts if part is not None], sets.target_label]
    path = place / f"scores-{_name(measured_on)}.json"
    with locked(path):
        if not path.is_file():
            loaded = load_classifier(place / "classifier", head="keep")
            write_json(path, asdict(score(loaded, sets, max_length=settings.max_length)))
    content = read_json(path)
    with shaped(path, "the scores of a model"):
        scores = Scores.from_json(content)
    return CachedModel(place / "classifier", place / "encoder", scores, seconds)


def _name(made_from: Any) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
