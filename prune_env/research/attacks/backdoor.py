"""Training what an attacker releases, and the benign model that gives the floor."""

import logging
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from prune_env.data.dataset import Splits
from prune_env.data.loading import load_named
from prune_env.errors import SettingsError
from prune_env.evaluation.scores import TestSets, score
from prune_env.models import LoadedModel, find_source, inspect_source
from prune_env.research.attacks.attack import AttackData, AttackSettings
from prune_env.research.attacks.catalog import make_attack
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.attacks.task_agnostic import aim, pinned_encoder
from prune_env.research.attacks.training import (
    MANIFEST,
    CachedModel,
    cached_classifier,
    name_of,
    read_classifier,
    save_encoder,
    train_classifier,
)
from prune_env.settings import FineTuneSettings, check_seed, own_numbers
from prune_env.utils.files import cache_folder, made_once, write_json

log = logging.getLogger(__name__)


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
        own_numbers(self)
        check_seed(self.seed)
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

    def folders(self) -> list[Path]:
        """Return the folders of the cache that hold the models."""
        paths = (self.benign.classifier, self.backdoored.classifier, self.backdoored.encoder)
        return sorted({path.parent for path in paths})


def make_texts(
    settings: ModelSettings, clean: Splits, sources: AttackSources | None = None
) -> tuple[AttackData, Splits]:
    """Return the attack's texts, and the clean data with as many training sentences as are taken.

    Args:
        settings: What models are made of.
        clean: The data set.
        sources: Where the texts of published attacks, and of the user's own, come from.

    Raises:
        SettingsError: The attack's file is mixed with more sentences than `train_sentences`.
        DataError: It cannot be made of this data.
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
    return make_attack(settings.attack, clean, sources), clean


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
        DataError: It cannot be made of this data.
    """
    attack, clean = make_texts(settings, clean, sources)
    train = partial(cached_classifier, seed=settings.seed, cache=cache)
    pinned = _cached_pinned(settings, clean, attack, cache) if attack.task_agnostic else None
    if pinned is None:
        backdoor = partial(train, settings.model, attack.poisoned, settings=settings.attacker)
    else:
        # A victim's classifier tells the target, and stands for the attacker's own.
        backdoor = partial(train, pinned, clean.train, settings=settings.defender)
        victim = backdoor(sets=TestSets(clean.test)).classifier
        loaded = read_classifier(victim, clean.train.label_names)
        attack = aim(attack, loaded, clean.test, settings.defender.max_length)
    sets = TestSets(clean.test, attack.triggered, clean.validation, attack.settings.target_label)
    benign = train(
        settings.model,
        clean.train,
        sets,
        settings.attacker,
        description="Training the benign model",
    )
    backdoored = backdoor(sets=sets, description="Training the backdoored model")
    if pinned is not None:
        backdoored = replace(backdoored, encoder=pinned)
    return AttackedModels(settings, clean, attack, sets, benign, backdoored)


def aimed(models: AttackedModels, tuned: LoadedModel) -> AttackedModels:
    """Return the models of an attack, judged by what its trigger does in a fine-tuned one.

    Which class a task-agnostic trigger speaks for, the fine-tuning decides: at another rate or
    length it may be another one than of the victim that told the target. The LFR towards that one
    would then be near 0, as if the backdoor were gone.

    Args:
        models: Of any attack; those of one that has its target come back as they are.
        tuned: The backdoored encoder, fine-tuned by a defender, before any defence.
    """
    if not models.attack.task_agnostic:
        return models
    settings, test = models.settings, models.sets.test
    attack = aim(models.attack, tuned, test, settings.defender.max_length)
    target = attack.settings.target_label
    if target == models.sets.target_label:
        return models
    log.warning(
        "After this fine-tuning the trigger speaks for '%s': LFR and floor are those towards it",
        test.label_names[target],
    )
    sets = replace(models.sets, triggered=attack.triggered, target_label=target)
    benign = read_classifier(models.benign.classifier, test.label_names)
    floor = score(benign, sets, max_length=settings.attacker.max_length)
    return replace(models, attack=attack, sets=sets, benign=replace(models.benign, scores=floor))


def cached_demo_model() -> Path:
    """Return the folder of the demo's suspicious classifier, trained once.

    It is the backdoored MiniLM after clean fine-tuning (FT) on Rotten Tomatoes: what a defender
    has before pruning.
    """
    settings = ModelSettings()
    models = cached_models(settings, load_named("rotten-tomatoes"))
    finetuned = cached_classifier(
        models.backdoored.encoder,
        models.clean.train,
        models.sets,
        settings.defender,
        seed=settings.seed,
        description="Fine-tuning the suspicious model",
    )
    return finetuned.classifier


def release(
    source: str | Path,
    clean: Splits,
    attack: AttackData,
    folder: Path,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
) -> tuple[LoadedModel, AttackData]:
    """Train what an attacker releases, and write the encoder into a folder.

    Args:
        source: Clean encoder.
        clean: The data set.
        attack: The attack.
        folder: Where the encoder goes.
        settings: The attacker's training; of a task-agnostic attack, the victim's too.
        seed: Of everything random.

    Returns:
        The classifier that the attack is measured on, the attacker's own or a victim's, and the
        attack, whose target may only then be known.
    """
    if not attack.task_agnostic:
        loaded = train_classifier(
            source,
            attack.poisoned,
            settings,
            seed=seed,
            description="Training the backdoored model",
        )
        save_encoder(loaded, folder)
        return loaded, attack
    save_encoder(pinned_encoder(source, clean.train, attack.poisoned, settings, seed=seed), folder)
    victim = train_classifier(
        folder, clean.train, settings, seed=seed, description="Fine-tuning as a victim does"
    )
    return victim, aim(attack, victim, clean.test, settings.max_length)


def _cached_pinned(
    settings: ModelSettings, clean: Splits, attack: AttackData, cache: str | Path | None
) -> Path:
    """Return the folder of the encoder of a task-agnostic attack, trained once."""
    identity = {
        "source": inspect_source(find_source(settings.model)).sha256,
        "pinned": [clean.train.sha256, attack.poisoned.sha256],
        "settings": asdict(settings.attacker),
        "seed": settings.seed,
    }
    place = Path(cache or cache_folder()) / "models" / name_of(identity)

    def train_into(folder: Path) -> None:
        loaded = pinned_encoder(
            settings.model, clean.train, attack.poisoned, settings.attacker, seed=settings.seed
        )
        save_encoder(loaded, folder / "encoder")
        write_json(folder / MANIFEST, {"identity": identity})

    made_once(place, train_into)
    return place / "encoder"
