"""What masks of heads, neuron groups and strengths leave of a backdoor, without any training.

Policies search one fine-tuned, backdoored MiniLM each time, with an equal budget of masks, on a
part of the clean validation data; the mask is written into the weights, and the model is measured
on the whole test set, at the threshold that the whole validation data calibrates.

    python -m tests.benchmarks.hybrid --models MODELS --data SST2 --out runs/hybrid

MODELS holds `ft-ATTACK-SEED-backdoored` and `benign-ATTACK-SEED/classifier`. One thread; a file for
each search, so that a run that was killed goes on with the same command. The oracle reads triggered
test texts: it is a ceiling.
"""

import json
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import prune_env  # noqa: F401 - registers policies
from prune_env.data import load_named
from prune_env.data.dataset import Splits
from prune_env.env.hybrid import with_units
from prune_env.env.rewards.inverted_trigger import InvertedTrigger
from prune_env.env.rewards.reward import REWARDS
from prune_env.env.subject import Subject
from prune_env.evaluation.scores import TestSets, score
from prune_env.importance.registry import UNIT_METRICS
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.masks import Mask
from prune_env.models.unit_gates import write_units
from prune_env.purification import SearchResult, make_subject, search
from prune_env.research.attacks.align import align_triggered
from prune_env.research.attacks.attack import AttackSettings
from prune_env.research.attacks.catalog import make_attack
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.oracle import oracle_search
from prune_env.settings import SearchSettings, UnitSettings
from prune_env.utils.files import read_json, write_json

ONE_STRENGTH = "one-strength"
NONE = "none"
POLICIES = (
    NONE,
    ONE_STRENGTH,
    "reward-greedy",
    "random",
    "oracle-calibrated",
    "greedy",
    "carried-over",
    "carried-climb",
    "epsilon-greedy",
    "maskable_ppo",
)


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        models: Folder of the models.
        data: Folder of SST-2.
        out: Where results are kept.
        attacks: Names of attacks.
        policies: Some of `POLICIES`.
        seed: Of models, and of searches unless they have a seed of their own.
        search_seed: Of searches.
        budget: Masks that a search may ask for.
        max_drop: Validation accuracy (0 to 1) that may be lost.
        episodes: How often a policy may play, while masks last.
        sentences: Validation sentences on which masks are judged, and triggered ones that the
            oracle reads.
        framed: Sentences that each inverted trigger is put around.
        groups: Groups of neurons in a layer.
        steps: Steps of strength; 0 groups and 0 steps leave heads alone.
    """

    models: Path
    data: Path
    out: Path
    attacks: tuple[str, ...] = ("hiddenkiller", "stylebkd-poetry", "stylebkd-bible")
    policies: tuple[str, ...] = POLICIES
    seed: int = 0
    search_seed: int | None = None
    budget: int = 300
    max_drop: float = 0.01
    episodes: int = 1
    sentences: int = 300
    framed: int = 30
    groups: int = 8
    steps: int = 4

    @property
    def name(self) -> str:
        """What tells the results of these options from others of the same models."""
        played = f"g{self.groups}-s{self.steps}"
        if self.episodes > 1:
            played += f"-e{self.episodes}"
        return played if self.search_seed is None else f"{played}-r{self.search_seed}"

    @property
    def settings(self) -> SearchSettings:
        """How policies search."""
        return SearchSettings(
            max_drop=self.max_drop, budget=self.budget, reward="framed", episodes=self.episodes
        )


def main(options: Options) -> None:
    """Run every search that has no file yet; print a JSON line for each."""
    torch.set_num_threads(1)
    REWARDS.register("framed", lambda: InvertedTrigger(sentences=options.framed), help="")
    clean = load_named("sst2", options.data)
    for attack in options.attacks:
        made: tuple[Subject, TestSets, dict[str, float]] | None = None
        for policy in options.policies:
            name = f"{attack}-{options.seed}-{policy}-{options.name}.json"
            if not (options.out / name).exists():
                made = made or prepare(attack, clean, options)
                write_json(options.out / name, measure(policy, *made, options))
            print(json.dumps({"attack": attack, **read_json(options.out / name)}), flush=True)


def prepare(
    attack: str, clean: Splits, options: Options
) -> tuple[Subject, TestSets, dict[str, float]]:
    """Return the backdoored model cut into units, the test sets, and the benign model's scores."""
    made = make_attack(
        AttackSettings(attack=attack, seed=options.seed), clean, AttackSources(options.data)
    )
    sets = TestSets(clean.test, made.triggered, clean.validation, made.settings.target_label)
    benign = options.models / f"benign-{attack}-{options.seed}" / "classifier"
    floor = percent(read(benign, clean), sets)
    loaded = read(options.models / f"ft-{attack}-{options.seed}-backdoored", clean)
    subject = make_subject(loaded, attack, clean.train, clean.validation)
    cut = UnitSettings(options.groups, options.steps)
    return with_units(subject, UNIT_METRICS, cut), sets, floor


def measure(
    policy: str, subject: Subject, sets: TestSets, floor: dict[str, float], options: Options
) -> dict[str, Any]:
    """Search a mask, and measure the model that it leaves."""
    part = subject.on_part(options.sentences)
    found = choose(policy, part, sets, options)
    suspect = subject.require_suspect()
    assert suspect.unit_map is not None
    purified = deepcopy(suspect.loaded.model)
    write_units(purified, suspect.unit_map, found.mask)
    scores = percent(replace(suspect.loaded, model=purified), sets)
    return {
        "policy": policy,
        "options": {key: str(value) for key, value in asdict(options).items()},
        "units": subject.units.pruned(found.mask),
        "evaluations": found.evaluations,
        "seconds": round(found.seconds),
        "tau": found.tau,
        "validation_accuracy": found.accuracy,
        **scores,
        "excess": scores["lfr"] - floor["lfr"],
        "excess_calibrated": scores["lfr_calibrated"] - floor["lfr_calibrated"],
        "floor_calibrated": floor["lfr_calibrated"],
        "mask": ["".join(str(int(kept)) for kept in row) for row in found.mask],
    }


def choose(policy: str, part: Subject, sets: TestSets, options: Options) -> SearchResult:
    """Return the mask of a policy."""
    settings = options.settings
    seed = options.seed if options.search_seed is None else options.search_seed
    full = part.evaluator.available
    tau = settings.threshold(part.accuracy)
    if policy == NONE:
        return SearchResult(policy, full, part.accuracy, tau, 1, 0.0)
    if policy == ONE_STRENGTH:
        return one_strength(part, tau)
    if policy != "oracle-calibrated":
        return search(part, policy, settings, seed=seed)
    assert sets.triggered is not None
    loaded = part.require_suspect().loaded
    triggered, target = align_triggered(loaded, sets.triggered, sets.target_label)
    few = triggered.sample(options.sentences, np.random.default_rng(seed))
    return oracle_search(part, few, target, settings, calibrated=True, seed=seed)


def one_strength(part: Subject, tau: float) -> SearchResult:
    """Return the strongest mask of equal strengths everywhere that keeps tau."""
    units, full = part.units, part.evaluator.available
    masks: list[Mask] = []
    for strength in range(units.steps + 1):
        mask = full.copy()
        for index in range(units.maps):
            columns = units.columns_of(index)
            mask[:, columns.start : columns.start + strength] = False
        masks.append(mask)
    accuracies = part.evaluator.accuracy(np.stack(masks))
    best = int(np.flatnonzero(accuracies >= tau).max())
    return SearchResult(ONE_STRENGTH, masks[best], float(accuracies[best]), tau, len(masks), 0.0)


def read(folder: Path, clean: Splits) -> LoadedModel:
    """Return a classifier of SST-2."""
    names = clean.train.label_names
    return load_classifier(folder, num_labels=len(names), label_names=names, head="keep")


def percent(loaded: LoadedModel, sets: TestSets) -> dict[str, float]:
    """Return ACC and LFR, plain and calibrated, in percent."""
    scores = score(loaded, sets)
    assert scores.lfr is not None
    assert scores.acc_calibrated is not None
    assert scores.lfr_calibrated is not None
    return {
        "acc": scores.acc.percent,
        "lfr": scores.lfr.percent,
        "acc_calibrated": scores.acc_calibrated.percent,
        "lfr_calibrated": scores.lfr_calibrated.percent,
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
