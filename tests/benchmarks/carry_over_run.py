"""Does what an agent learned carry over between the fine-tuned models of a benchmark run?

    prune-env benchmark sst2 --data-folder DATA --out runs/sst2
    python -m tests.benchmarks.carry_over_run --run runs/sst2 --data-folder DATA --out runs/carried

An agent learns on models of the other families of triggers, and then purifies models of the family
that was left out, without learning more. Whoever reads a reward is paid `inverted-trigger`, which
knows no trigger; the agent as well while it learns. Triggers are inverted, and masks searched, on a
part of the validation sentences, by all policies alike; figures are from the whole test sets.

The run is only read, and models that it has not made yet are left out: call it again later.
Everything is kept in the folder, and a run that was killed goes on with the same command.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from prune_env.data import load_named
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.policy import Requirements, requirements_of
from prune_env.env.rewards.inverted_trigger import InvertedTrigger
from prune_env.env.rewards.reward import REWARDS
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator, metrics
from prune_env.evaluation.scores import Scores
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import Frame
from prune_env.inversion.search import Inversion, invert
from prune_env.purification import search
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import Cell
from prune_env.research.benchmark.results import read_results
from prune_env.research.benchmark.workbench import Workbench
from prune_env.settings import SearchSettings
from prune_env.utils.files import new_folder, read_json, write_json
from tests.benchmarks.carry_over import as_result, console, learn, table

FRAMES, SENTENCES = 3, 16
REWARD = InvertedTrigger(frames=FRAMES, sentences=SENTENCES)
REWARDS.register("inverted-trigger-part", lambda: REWARD, help="the reward on fewer sentences")

FIXED = (
    "random",
    "magnitude",
    "gate-gradient",
    "gradient",
    "layerwise-variance",
    "pure",
    "bayesian",
)
"""Orders: one episode, so that they are played with the first budget alone."""

SEARCHES = ("greedy", "evolution", "epsilon-greedy", "reward-greedy")
"""Policies that search each model anew; the last two read the reward."""


@dataclass(frozen=True)
class Options:
    """What is run.

    Attributes:
        run: Folder of the benchmark.
        out: Folder of agents and results.
        data_folder: Where the data set and the files of the attacks are.
        cache: Where the run's backdoored models are; default: the user's cache.
        attacks: Their models are purified, and learned on where the family fits.
        pool_seeds: Of the models that an agent learns on.
        test_seeds: Of the models that it is tried on.
        algorithm: The agent.
        agent_seeds: An agent is trained with each of them.
        steps: Environment steps of a training.
        sentences: Validation sentences, a stratified part, on which masks are searched.
        budgets: Masks that each policy may have evaluated for one model.
        max_drop: Clean validation accuracy that may be lost.
        prune_step: Heads between two looks at the accuracy; the paper's 10 of 144 are 5 of 72.
    """

    run: Path
    out: Path
    data_folder: Path
    cache: Path | None = None
    attacks: tuple[str, ...] = ("hiddenkiller", "stylebkd-poetry", "stylebkd-bible")
    pool_seeds: tuple[int, ...] = (0, 1)
    test_seeds: tuple[int, ...] = (0, 1, 2)
    algorithm: str = "maskable_ppo"
    agent_seeds: tuple[int, ...] = (0,)
    steps: int = 2_048
    sentences: int = 109
    budgets: tuple[int, ...] = (20, 100)
    max_drop: float = 0.03
    prune_step: int = 5


@dataclass(frozen=True)
class Model:
    """A fine-tuned model of the run.

    Attributes:
        name: Attack and seed.
        family: Of its trigger.
        settings: What it was made from.
    """

    name: str
    family: str
    settings: ModelSettings


class Run:
    """The models of a benchmark run; what is read of them is copied first."""

    def __init__(self, options: Options) -> None:
        self._options = options
        run = read_results(options.run)
        self.models: dict[tuple[str, int], Model] = {}
        for each in run.done:
            cell, record = each.cell, each.record
            plain = cell.policy == "ft" and cell.protocol == "none"
            if plain and cell.target == "backdoored" and record and record.attack:
                name = f"{each.attack}-{each.seed}"
                self.models[each.attack, each.seed] = Model(name, record.attack.family, cell.models)
        for made in (options.run / "fine-tuned").iterdir():
            if (made / "made.json").exists() and not made.name.startswith("."):
                _copied(made, options.out / "fine-tuned" / made.name)
        self._bench = Workbench(
            load_named("sst2", options.data_folder),
            options.out,
            identity=run.plan.identity,
            sources=AttackSources(options.data_folder),
            cache=options.cache,
        )
        self._parts: dict[str, Subject] = {}
        self._sets: dict[str, dict[str, MaskEvaluator]] = {}

    def part(self, model: Model) -> Subject:
        """Return a model as a defender has it, judged on a part of the validation sentences."""
        if model.name not in self._parts:
            whole = self._bench.subject(Cell(model.settings), Requirements())
            part = whole.on_part(self._options.sentences)
            self._tell(model, part.require_suspect())
            self._parts[model.name] = replace(part, name=model.name)
        return self._parts[model.name]

    def measured(self, model: Model, required: Requirements) -> Subject:
        """Return `part`, with the metrics that a policy reads besides those of the agents."""
        part = self.part(model)
        if set(required.metrics) <= set(part.metrics):
            return part
        needed = Requirements(metrics=required.metrics)
        whole = self._bench.subject(Cell(model.settings), needed)
        return replace(part, metrics=whole.metrics, importance=whole.importance)

    def scores(self, model: Model, mask: np.ndarray) -> tuple[Scores, Scores]:
        """Return the scores of a model under a mask, and those of the benign model."""
        attacked, loaded = (
            self._bench.models(model.settings),
            self.part(model).require_suspect().loaded,
        )
        sets = attacked.sets
        if model.name not in self._sets:
            parts = {"test": sets.test, "triggered": sets.triggered, "validation": sets.validation}
            in_order = {
                name: replace(part, labels=loaded.align(part.labels, part.label_names))
                for name, part in parts.items()
                if part is not None
            }
            # Of the last model only: hidden states of whole test sets are a gigabyte each.
            self._sets = {
                model.name: {
                    name: MaskEvaluator(loaded.model, loaded.tokenizer, part)
                    for name, part in in_order.items()
                }
            }
        target = int(loaded.align(np.array([sets.target_label]), sets.test.label_names)[0])
        answers = {
            name: evaluator.evaluate(mask[None])
            for name, evaluator in self._sets[model.name].items()
        }
        test, triggered, validation = (
            (answers[name].logits[0], answers[name].labels)
            for name in ("test", "triggered", "validation")
        )
        threshold = metrics.calibrated_threshold(*validation, target)
        reached = Scores(
            metrics.accuracy(*test, target),
            metrics.label_flip_rate(triggered[0], target),
            metrics.accuracy(*test, target, threshold),
            metrics.label_flip_rate(triggered[0], target, threshold),
        )
        return reached, attacked.benign.scores

    def _tell(self, model: Model, texts: Suspect) -> None:
        """Give the reward the inverted triggers of a model, searched once and kept."""
        path = self._options.out / "inversions" / f"{model.name}.json"
        if not path.exists():
            found = invert(texts, keep=FRAMES, beam=12, sentences=(4, 8, 40))
            write_json(path, asdict(found))
        held = read_json(path)
        sides = [tuple(Frame(**frame) for frame in side) for side in held["by_class"]]
        known = Inversion((sides[0], sides[1]), tuple(held["strength"]))
        texts.facts[f"inversion {FRAMES}"] = known


def _copied(source: Path, place: Path) -> None:
    if not place.exists():
        with new_folder(place) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)


def trained(options: Options, run: Run, left_out: str, seed: int) -> Path | None:
    """Return the folder of an agent that never saw a family of triggers, trained if need be.

    Returns:
        None while the run lacks a model of the pool.
    """
    wanted = [(attack, number) for attack in options.attacks for number in options.pool_seeds]
    if any(key not in run.models for key in wanted):
        return None
    pool = [run.models[key] for key in wanted if run.models[key].family != left_out]
    folder = options.out / "agents" / f"{options.algorithm}-without-{left_out}-{seed}"
    done = folder / "pool.json"
    if not done.exists():
        subjects = [run.part(model) for model in pool]
        env = HeadPruningEnv(
            pool=subjects,
            tau=None,
            max_drop=options.max_drop,
            prune_step=options.prune_step,
            reward="inverted-trigger-part",
        )
        started = time.perf_counter()
        place, sentences = folder / "agent", options.sentences
        learn(place, options.algorithm, env, options.steps, seed, sentences=sentences)
        asked = sum(subject.evaluator.evaluations for subject in subjects)
        write_json(
            done,
            {
                "pool": [model.name for model in pool],
                "steps": options.steps,
                "masks": asked,
                "seconds": time.perf_counter() - started,
            },
        )
    return folder / "agent"


def rows(options: Options, run: Run) -> Iterator[dict[str, Any]]:
    """Yield the result of every cell, computed once and kept as a file."""
    keys = [(seed, attack) for seed in options.test_seeds for attack in options.attacks]
    for budget in options.budgets:
        for seed, attack in keys:
            model = run.models.get((attack, seed))
            if model is None:
                continue
            contenders = {name: name for name in SEARCHES}
            if budget == options.budgets[0]:
                contenders = {"none": "none", **{name: name for name in FIXED}, **contenders}
                for number in options.agent_seeds:
                    agent = trained(options, run, model.family, number)
                    if agent is not None:
                        contenders[f"carried {number}"] = str(agent)
            for policy, who in contenders.items():
                name = f"{model.name}-{policy.replace(' ', '-')}-{budget}"
                path = options.out / "cells" / f"{name}.json"
                if not path.exists():
                    started = time.perf_counter()
                    result = _play(options, run, model, policy, who, budget)
                    write_json(path, {**result, "policy": policy.split()[0]})
                    told = {key: result[key] for key in ("evaluations", "reward", "acc", "lfr")}
                    seconds = time.perf_counter() - started
                    console.print(f"{name}: {told}, {seconds:.0f} s")
                yield read_json(path)


def _play(
    options: Options, run: Run, model: Model, policy: str, who: str, budget: int
) -> dict[str, Any]:
    subject = run.part(model)
    mask, evaluations = subject.evaluator.available, 1
    if policy != "none":
        settings = SearchSettings(
            max_drop=options.max_drop,
            budget=budget,
            prune_step=options.prune_step,
            reward="inverted-trigger-part",
        )
        seen = run.measured(model, requirements_of(who))
        found = search(seen, who, settings, seed=model.settings.seed)
        mask, evaluations = found.mask, found.evaluations
    scores, floor = run.scores(model, mask)
    accuracy = subject.evaluator.accuracy(mask[None])
    return as_result(
        mask,
        float(REWARD.score(subject, mask[None], accuracy)[0]),
        budget,
        scores,
        floor,
        policy=policy,
        attack=model.settings.attack.attack,
        seed=model.settings.seed,
        evaluations=evaluations,
    )


def main() -> None:
    """Train agents, play, and print a table for each family and budget."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    run = Run(options)
    results = list(rows(options, run))
    families = {model.name.rsplit("-", 1)[0]: model.family for model in run.models.values()}
    for family in dict.fromkeys(families.values()):
        chosen = [row for row in results if families[row["attack"]] == family]
        for budget in options.budgets:
            console.print(f"family left out: {family}\n{table(chosen, budget)}")


if __name__ == "__main__":
    main()
