"""What the default of `purify` costs and leaves: `python -m tests.benchmarks.purify`.

Of some attacks on SST-2, each backdoored model and the benign one are fine-tuned and healed alike;
the excess is told over the benign model, and over the benign model treated in the same way. Time is
that of the processor, on one thread, so that other work on the machine counts for less; all models
but the fine-tuned ones come from the cache. A JSON line a model and attack.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from prune_env.data import load_named
from prune_env.evaluation.scores import Scores, score
from prune_env.models import LoadedModel, full_mask
from prune_env.models.ridge import RidgeMap
from prune_env.purification import heal, make_subject, opposing, refit, unlearn
from prune_env.purification.judge import Judge
from prune_env.purification.plan import usual_fine_tuning
from prune_env.purification.prepare import fine_tune_suspicious
from prune_env.research.attacks.attack import AttackSettings
from prune_env.research.attacks.backdoor import (
    AttackedModels,
    ModelSettings,
    aimed,
    cached_models,
)
from prune_env.research.attacks.sources import AttackSources
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import TrainingRun

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "sst2"
PARTS = {
    "moments and spectra": (refit, "measure_maps"),
    "ridge": (RidgeMap, "fit"),
    "validation": (Judge, "logits"),
    "unseen tokens": (refit, "replace_unseen"),
    "fine-tuning after refits": (refit, "fine_tune"),
    "phrases": (opposing, "invert"),
    "words": (opposing, "suspicious_words"),
    "fine-tuning to unlearn": (unlearn, "fine_tune"),
    "phrases after it": (unlearn, "remeasure"),
}
"""What is timed, each without what it calls of the others."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        attack: Names of `prune-env list --kind attacks`; the benign model serves them all.
        sentences: Clean sentences; 0 takes all.
        seed: Of models and of everything random.
        data: Folder of SST-2.
        epochs: Of the fine-tuning before the healing; 0: as `purify` does it.
        cache: Folder of attacked models; default: the user's cache.
    """

    attack: tuple[str, ...] = ("hiddenkiller",)
    sentences: int = 0
    seed: int = 0
    data: Path = DEFAULT_DATA
    epochs: int = 0
    cache: Path | None = None


@dataclass
class Clock:
    """Processor seconds by part; a part does not count what another part takes inside of it."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    def watch(self, holder: Any, name: str, part: str) -> None:
        """Time every call of a function of a module or class."""
        function: Callable[..., Any] = getattr(holder, name)

        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **options)
            finally:
                spent = time.process_time() - started
                self.seconds[part] = self.seconds.get(part, 0.0) + spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        setattr(holder, name, timed)


@dataclass(frozen=True)
class Treated:
    """A model after its fine-tuning and its healing, with what they took.

    Attributes:
        tuned: After the fine-tuning.
        healed: After the healing.
        seconds: Of the processor, for either, and by part of the healing.
    """

    tuned: LoadedModel
    healed: LoadedModel
    seconds: dict[str, Any]


def main(options: Options) -> None:
    """Measure the benign model first, whose scores the others are held against."""
    torch.set_num_threads(1)
    clock = Clock()
    for part, (holder, name) in PARTS.items():
        clock.watch(holder, name, part)
    attacked = {attack: attacked_models(attack, options) for attack in options.attack}
    benign = _treat(next(iter(attacked.values())), "benign", options, clock)
    for attack, models in attacked.items():
        backdoored = _treat(models, "backdoored", options, clock)
        judged = aimed(models, backdoored.tuned)
        floors = [judged.benign.scores, score(benign.healed, judged.sets)]
        for kind, treated in (("benign", benign), ("backdoored", backdoored)):
            figures = {
                **asdict(options),
                "attack": attack,
                "model": kind,
                **treated.seconds,
                "fine_tuned": _figures(score(treated.tuned, judged.sets), floors[:1]),
                "healed": _figures(score(treated.healed, judged.sets), floors),
            }
            print(json.dumps(figures, default=str), flush=True)


def attacked_models(attack: str, options: Options) -> AttackedModels:
    """Return the models of an attack, from the cache or trained."""
    return cached_models(
        ModelSettings(
            attack=AttackSettings(attack=attack, seed=options.seed),
            train_sentences=options.sentences,
            attacker=FineTuneSettings(epochs=3),
            seed=options.seed,
        ),
        load_named("sst2", options.data),
        sources=AttackSources(options.data),
        cache=options.cache,
    )


def _treat(models: AttackedModels, kind: str, options: Options, clock: Clock) -> Treated:
    """Fine-tune and heal a model, "benign" or "backdoored", as `purify` does."""
    encoder, clean = getattr(models, kind).encoder, models.clean
    clock.seconds.clear()
    started = time.process_time()
    usual = usual_fine_tuning("refit-unlearn", clean.train)
    settings = replace(usual, epochs=options.epochs or usual.epochs)
    run = TrainingRun(settings, seed=options.seed)
    loaded = fine_tune_suspicious(encoder, clean.train, run)
    tuned = time.process_time()
    subject = make_subject(loaded, encoder, clean.train, clean.validation)
    healed = heal(subject, [full_mask(subject.shape)], run, healing="refit-unlearn").model
    seconds = {
        "fine_tuning_seconds": tuned - started,
        "seconds_after": time.process_time() - tuned,
        "seconds_by_part": dict(clock.seconds),
    }
    return Treated(loaded, healed, seconds)


def _figures(scores: Scores, floors: list[Scores]) -> dict[str, float]:
    """Return ACC, calibrated LFR, and its excess over the benign model, plain and treated."""
    assert scores.lfr_calibrated is not None
    found = {"acc": scores.acc.percent, "lfr_calibrated": scores.lfr_calibrated.percent}
    for name, floor in zip(("benign", "treated_benign"), floors, strict=False):
        assert floor.lfr_calibrated is not None
        found[f"excess_over_{name}"] = found["lfr_calibrated"] - floor.lfr_calibrated.percent
    return found


if __name__ == "__main__":
    main(tyro.cli(Options))
