"""What healing leaves where clean sentences are few: `python -m tests.benchmarks.few`.

Attacker and benign model had all of SST-2; the defender has some of its clean sentences, a fifth of
them for validation, as `purify` splits them. Excess is over the benign model. A JSON line before
any healing and one a healing; attacked models come from the cache, triggers are inverted once.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from prune_env.data import load_named
from prune_env.evaluation.scores import Scores, score
from prune_env.models import full_mask
from prune_env.purification import make_subject
from prune_env.purification.heal import apply_steps, steps_of
from prune_env.purification.prepare import fine_tune_suspicious
from prune_env.purification.refit import Refit
from prune_env.purification.step import Step
from prune_env.purification.unlearn import Unlearn
from prune_env.research.attacks.attack import AttackSettings
from prune_env.research.attacks.backdoor import ModelSettings, cached_models
from prune_env.research.attacks.sources import AttackSources
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import TrainingRun
from tests.benchmarks.purify import DEFAULT_DATA

HEALINGS: dict[str, Callable[[int], tuple[Step, ...]]] = {
    "default": lambda rows: steps_of("refit-unlearn"),
    "unlearn": lambda rows: (Unlearn(sentences=3 * rows),),
    "refit": lambda rows: (Refit(trained_from=0, texts=(3 * rows, 3 * rows)),),
    "gentle": lambda rows: (
        Refit(trained_from=0, texts=(3 * rows, 3 * rows), learning_rate_scale=1.0),
        Unlearn(share=0.35, sentences=3 * rows),
    ),
}
"""Steps by name, for so many training rows; but for the default, each row is read three times."""


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        attack: A name of `prune-env list --kind attacks`.
        target: The attacker's label; published attacks fix it.
        model: Clean encoder that is attacked; a folder or a name.
        attacker_epochs: Of the attacker's training, and of the benign model's.
        kind: The attacker's classifier as it is, or the encoder, which is fine-tuned first.
        sentences: Clean sentences of the defender.
        unknown: Whether they are of the development set, which the attacker never read.
        healings: Names of `HEALINGS`.
        seed: Of models, of the draw of sentences and of everything random.
        data: Folder of SST-2.
        cache: Folder of attacked models; default: the user's cache.
    """

    attack: str = "hiddenkiller"
    target: int = 1
    model: str = "minilm"
    attacker_epochs: int = 3
    kind: Literal["classifier", "encoder"] = "classifier"
    sentences: int = 500
    unknown: bool = False
    healings: tuple[str, ...] = ("default",)
    seed: int = 0
    data: Path = DEFAULT_DATA
    cache: Path | None = None


def main(options: Options) -> None:
    """Measure the model as it is, and after each healing."""
    torch.set_num_threads(1)
    attack = AttackSettings(options.attack, target_label=options.target, seed=options.seed)
    models = cached_models(
        ModelSettings(
            model=options.model,
            attack=attack,
            train_sentences=0,
            attacker=FineTuneSettings(epochs=options.attacker_epochs),
            seed=options.seed,
        ),
        load_named("sst2", options.data),
        sources=AttackSources(options.data),
        cache=options.cache,
    )
    clean = models.clean.validation if options.unknown else models.clean.train
    _, own = clean.split(options.sentences / len(clean), options.seed)
    train, validation = own.split(0.2, options.seed)
    source: Path = getattr(models.backdoored, options.kind)
    run = TrainingRun(FineTuneSettings(), seed=options.seed)
    subject = make_subject(fine_tune_suspicious(source, train, run), source, train, validation)
    loaded = subject.require_suspect().loaded
    told: dict[str, Any] = {**asdict(options), "healing": None, "validation": subject.accuracy}
    floor = models.benign.scores
    print(json.dumps(told | _figures(score(loaded, models.sets), floor), default=str), flush=True)
    for name in options.healings:
        started = time.process_time()
        healed = apply_steps(subject, [full_mask(subject.shape)], run, HEALINGS[name](len(train)))
        told |= {"healing": name, "seconds": time.process_time() - started}
        told["strengths"] = [one.strength for report in healed.reports for one in report.refits]
        told["validation"] = make_subject(healed.model, source, train, validation).accuracy
        figures = _figures(score(healed.model, models.sets), floor)
        print(json.dumps(told | figures, default=str), flush=True)


def _figures(scores: Scores, floor: Scores) -> dict[str, float]:
    """Return ACC, plain and calibrated, and the calibrated LFR with its excess over the floor."""
    assert scores.acc_calibrated is not None
    assert scores.lfr_calibrated is not None
    assert floor.lfr_calibrated is not None
    return {
        "acc": scores.acc.percent,
        "acc_calibrated": scores.acc_calibrated.percent,
        "lfr_calibrated": scores.lfr_calibrated.percent,
        "excess": scores.lfr_calibrated.percent - floor.lfr_calibrated.percent,
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
