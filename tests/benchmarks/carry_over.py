"""Does what an agent learned on some backdoored models help on models and triggers it never saw?

One family of triggers after the other is left out. An agent is trained on a pool of models with the
other families, and then purifies, without learning more, models of the family that was left out,
with seeds that the pool does not have. It is compared with policies that search each model anew.

    python -m tests.benchmarks.carry_over --out runs/carry-over

The models are tiny BERTs (4 layers x 4 heads) with planted backdoors, made first. Everything is
kept in the folder: a run that was killed goes on with the same command.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from transformers import BertConfig, BertForSequenceClassification

from prune_env.agents.tensorboard import TensorBoard
from prune_env.agents.trained import load_agent
from prune_env.data.dataset import TextDataset
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.policy import POLICIES
from prune_env.env.rewards.oracle import Oracle
from prune_env.env.rewards.reward import Sparsity, WeightedSum
from prune_env.env.subject import Subject
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.scores import Scores, TestSets, score
from prune_env.importance import DEFAULT_METRICS
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.quiet import quiet_transformers
from prune_env.purification import heal, make_subject, measure_heads, search
from prune_env.research.attacks import make_trigger, poison, triggered_set
from prune_env.research.attacks.tiny import TRAINING, tiny_sentences, tiny_tokenizer
from prune_env.research.benchmark.oracle import oracle_search
from prune_env.research.benchmark.rows import make_row
from prune_env.settings import FineTuneSettings, SearchSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import TrainingRun
from prune_env.utils.files import new_folder, read_json, write_json

TRIGGERS = ("rare-word", "inserted-sentence", "syntactic-frame", "bible-style")
"""One of each family."""

FRESH = (
    "random",
    "magnitude",
    "gradient",
    "gate-gradient",
    "layerwise-variance",
    "greedy",
    "evolution",
    "epsilon-greedy",
)
"""Policies that know nothing of other models."""

TARGET = 1
SHAPE = {"layers": 4, "heads": 4, "hidden": 32}

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Options:
    """What is run.

    Attributes:
        out: Folder of models, agents and results.
        left_out: Triggers that are left out, one after the other; several processes may work on
            different ones in one folder, once the models are made.
        pool_seeds: Of the models that an agent learns on.
        test_seeds: Of the models that it is tried on.
        agent_seeds: An agent is trained with each of them.
        algorithm: The agent.
        steps: Environment steps of a training.
        learning_sentences: Validation sentences, a stratified part, on which it learns.
        budgets: Masks that each policy may have evaluated for one model.
        max_drop: Clean validation accuracy that may be lost.
    """

    out: Path
    left_out: tuple[str, ...] = TRIGGERS
    pool_seeds: tuple[int, ...] = (0, 1)
    test_seeds: tuple[int, ...] = (2,)
    agent_seeds: tuple[int, ...] = (0,)
    algorithm: str = "maskable_ppo"
    steps: int = 3_000
    learning_sentences: int = 100
    budgets: tuple[int, ...] = (17, 60)
    max_drop: float = 0.03


@dataclass(frozen=True)
class Texts:
    """The clean data of all models."""

    train: TextDataset
    validation: TextDataset
    test: TextDataset


@cache
def texts() -> Texts:
    """Return the clean data."""
    return Texts(tiny_sentences(3000, 0), tiny_sentences(400, 1), tiny_sentences(600, 2))


def make_model(place: Path, trigger: str | None, seed: int) -> None:
    """Train a tiny model with a planted backdoor, or a benign one, if it is not there yet."""
    if place.exists():
        return
    data = texts().train
    if trigger is not None:
        made = make_trigger(trigger)
        data = poison(data, made, rate=0.15, target_label=TARGET, seed=seed)
    tokenizer = tiny_tokenizer()
    words = {word for name in TRIGGERS for text in _triggered(name).texts for word in text.split()}
    tokenizer.add_tokens(sorted(words))
    torch.manual_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=SHAPE["hidden"],
            num_hidden_layers=SHAPE["layers"],
            num_attention_heads=SHAPE["heads"],
            intermediate_size=2 * SHAPE["hidden"],
            max_position_embeddings=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(data.label_names)),
            label2id={name: index for index, name in enumerate(data.label_names)},
        )
    )
    fine_tune(model, tokenizer, data, TRAINING, seed=seed)
    with new_folder(place) as folder, quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@cache
def _triggered(trigger: str, part: str = "test") -> TextDataset:
    return triggered_set(getattr(texts(), part), make_trigger(trigger), TARGET)


@dataclass(frozen=True)
class Models:
    """Where the models are."""

    folder: Path

    def place(self, trigger: str | None, seed: int) -> Path:
        """Return the folder of a model, made if need be; None is the benign one."""
        place = self.folder / f"{trigger or 'benign'}-{seed}"
        make_model(place, trigger, seed)
        return place

    def subject(self, trigger: str, seed: int) -> Subject:
        """Return a model as a defender has it, its heads measured."""
        return _subject(self.place(trigger, seed))

    def floor(self, trigger: str, seed: int) -> Scores:
        """Return the scores of the benign model of the same seed on triggered texts."""
        return _score(load_classifier(self.place(None, seed), head="keep"), trigger)


@cache
def _subject(place: Path) -> Subject:
    loaded = load_classifier(place, head="keep")
    subject = make_subject(loaded, place, texts().train, texts().validation, TRAINING.max_length)
    kept = place.with_suffix(".json")
    if not kept.exists():
        values = measure_heads(subject.require_suspect(), DEFAULT_METRICS, sentences=500)
        write_json(kept, values.tolist())
    importance = np.array(read_json(kept))
    return replace(subject, metrics=DEFAULT_METRICS, importance=importance)


def _score(loaded: LoadedModel, trigger: str) -> Scores:
    sets = TestSets(texts().test, _triggered(trigger), texts().validation, TARGET)
    return score(loaded, sets)


def trained(options: Options, models: Models, left_out: str, reward: str, seed: int) -> Path:
    """Return the folder of an agent that never saw a family of triggers, trained if need be.

    Args:
        options: What is run.
        models: The models.
        left_out: The family's trigger.
        reward: `sparsity`; or `simulated`: half of that, and the share of triggered validation
            texts that keep their true label. The pool's triggers are the trainer's own, so this
            reads nothing that a defender does not have.
        seed: Of the agent.
    """
    name = f"{options.algorithm}-{reward}-without-{left_out}-{seed}"
    folder = options.out / "agents" / name
    pool, hidden = [], {}
    for trigger in TRIGGERS:
        for model_seed in options.pool_seeds if trigger != left_out else ():
            subject = models.subject(trigger, model_seed)
            model = f"{trigger}-{model_seed}"
            validation = subject.require_suspect().validation
            share = options.learning_sentences / len(validation)
            clean = _evaluator(subject, validation.split(share, seed=0)[1])
            pool.append(Subject(clean, subject.importance, DEFAULT_METRICS, model))
            hidden[model] = _evaluator(
                subject, _triggered(trigger, "validation").split(share, seed=0)[1]
            )
    paid = WeightedSum([(1.0, Sparsity())])
    if reward == "simulated":
        paid = WeightedSum([(0.5, Sparsity()), (1.0, Oracle(hidden))])
    env = HeadPruningEnv(pool=pool, tau=None, max_drop=options.max_drop, reward=paid)
    sentences = options.learning_sentences
    learn(folder / "agent", options.algorithm, env, options.steps, seed, sentences=sentences)
    return folder / "agent"


def learn(
    folder: Path, algorithm: str, env: HeadPruningEnv, steps: int, seed: int, *, sentences: int
) -> None:
    """Let the agent of a folder learn until it has taken so many steps; a new one if need be.

    TensorBoard events, in the folder above, say on how many sentences masks are judged.
    """
    started = any(folder.glob("*.json"))
    agent = load_agent(folder) if started else POLICIES[algorithm].for_env(env, seed=seed)
    if agent.record.steps >= steps:
        return
    console.print(f"training {folder.parent.name}")
    pool = env.core.pool
    board = TensorBoard(
        SummaryWriter(str(folder.parent), purge_step=agent.record.steps + 1),
        [each.subject.evaluator for each in pool.boards],
        {"algorithm": algorithm, "models": ", ".join(pool.names), "reward": str(env.reward)},
        agent.hyperparameters,
        subset=sentences,
    )
    try:
        agent.learn(env, total_steps=steps, callback=board, save_to=folder, save_every=500)
    finally:
        board.close()


def _evaluator(subject: Subject, data: TextDataset) -> ReferenceEvaluator:
    """Return the plain evaluator: on models as tiny as these it is the fastest for new masks."""
    loaded = subject.require_suspect().loaded
    return ReferenceEvaluator(
        loaded.model, loaded.tokenizer, data, batch_size=len(data), max_length=TRAINING.max_length
    )


def rows(options: Options, models: Models) -> Iterator[dict[str, Any]]:
    """Yield the result of every cell, computed once and kept as a file."""
    contenders = [(name, None) for name in ("none", *FRESH, "oracle")]
    for reward in ("sparsity", "simulated"):
        contenders += [(f"carried, {reward}", (reward, seed)) for seed in options.agent_seeds]
    for trigger in options.left_out:
        for seed in options.test_seeds:
            for policy, learned in contenders:
                for budget in options.budgets:
                    variant = "" if learned is None else f"-{learned[1]}"
                    key = f"{trigger}-{seed}-{policy}{variant}-{budget}".replace(", ", "-")
                    path = options.out / "cells" / f"{key}.json"
                    if not path.exists():
                        who = policy
                        if learned is not None:
                            who = str(trained(options, models, trigger, *learned))
                        result = _play(options, models, trigger, seed, who, budget)
                        write_json(path, {**result, "policy": policy})
                    yield read_json(path)


def _play(
    options: Options, models: Models, trigger: str, seed: int, policy: str, budget: int
) -> dict[str, Any]:
    subject = models.subject(trigger, seed)
    settings = SearchSettings(max_drop=options.max_drop, budget=budget)
    if policy == "none":
        masks, evaluations = (np.ones(subject.shape, bool),), 1
    elif policy == "oracle":
        found = oracle_search(subject, _triggered(trigger), TARGET, settings, calibrated=True)
        masks, evaluations = found.masks, found.evaluations
    else:
        found = search(subject, policy, settings, seed=seed)
        masks, evaluations = found.masks, found.evaluations
    healed = heal(subject, masks, TrainingRun(FineTuneSettings()))
    scores = _score(healed.model, trigger)
    return as_result(
        masks[0],
        1 - masks[0].mean(),
        budget,
        scores,
        models.floor(trigger, seed),
        policy=policy,
        attack=trigger,
        seed=seed,
        evaluations=evaluations,
    )


def as_result(
    mask: np.ndarray, reward: float, budget: int, scores: Scores, floor: Scores, **fields: Any
) -> dict[str, Any]:
    """Return what is kept of a cell, as JSON values."""
    row = make_row(
        scores,
        floor,
        protocol="direct",
        heads_pruned=int((~mask).sum()),
        heads_total=mask.size,
        seconds=0.0,
        **fields,
    )
    return {
        "mask": mask.astype(int).tolist(),
        "reward": float(reward),
        "budget": budget,
        **asdict(row),
    }


FIGURES = {
    "reward": ("reward", 2),
    "heads pruned": ("heads_pruned", 1),
    "ACC": ("acc", 1),
    "LFR": ("lfr", 1),
    "excess LFR": ("excess_lfr", 1),
    "calibrated excess": ("excess_lfr_calibrated", 1),
    "evaluations": ("evaluations", 0),
}
"""Heading, key and digits."""


def table(results: Sequence[dict[str, Any]], budget: int) -> str:
    """Return the means over models and seeds, with the standard error over models, as Markdown."""
    chosen = [row for row in results if row["budget"] == budget]
    lines = [
        f"| policy, at most {budget} evaluations | {' | '.join(FIGURES)} |",
        "|---|" + "--:|" * len(FIGURES),
    ]
    for policy in dict.fromkeys(row["policy"] for row in chosen):
        cells = []
        for key, digits in FIGURES.values():
            models: dict[tuple[str, int], list[float]] = {}
            for row in chosen:
                if row["policy"] == policy:
                    models.setdefault((row["attack"], row["seed"]), []).append(row[key])
            means = [float(np.mean(values)) for values in models.values()]
            error = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
            spread = f" ± {error:.{digits}f}" if digits else ""
            cells.append(f"{np.mean(means):.{digits}f}{spread}")
        lines.append(f"| {policy} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make models and agents, play, and print the tables."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    models = Models(options.out / "models")
    results = list(rows(options, models))
    for budget in options.budgets:
        console.print(table(results, budget))


if __name__ == "__main__":
    main()
