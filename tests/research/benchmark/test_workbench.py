import json
from dataclasses import asdict, replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.data.dataset import Splits
from prune_env.env.policy import POLICIES, Requirements
from prune_env.evaluation import ReferenceEvaluator, metrics
from prune_env.evaluation.scores import score
from prune_env.models.forward import classify
from prune_env.models.masks import oracle_mark_of
from prune_env.purification.report import length_of
from prune_env.research.attacks import AttackSettings
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.benchmark.cell import Cell, Target, digest
from prune_env.research.benchmark.outcome import run_cell, write_model
from prune_env.research.benchmark.record import CellRecord
from prune_env.research.benchmark.workbench import Workbench
from prune_env.settings import FineTuneSettings, SearchSettings
from prune_env.utils.files import read_json
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

SEARCH = SearchSettings(tau=0.4, budget=40, importance_sentences=16)


@pytest.fixture(scope="module")
def clean() -> Splits:
    return Splits(*(tiny_dataset(60, seed) for seed in range(3)))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    folder = tmp_path_factory.mktemp("encoder")
    tiny_bert().bert.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    tuning = FineTuneSettings(epochs=3, learning_rate=1e-3, precision="fp32")
    return ModelSettings(str(folder), AttackSettings("rare-word"), 0, tuning, tuning)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, clean: Splits) -> Workbench:
    folder = tmp_path_factory.mktemp("bench")
    return Workbench(clean, folder, cache=folder / "cache")


def test_a_new_bench_in_the_same_folder_finds_the_same(
    bench: Workbench, clean: Splits, models: ModelSettings
) -> None:
    cell = Cell(models, "gradient", "direct", search=SEARCH)
    first = bench.run(cell)
    again = Workbench(clean, bench._folder, cache=bench._cache).run(cell)
    assert again.found.seconds == first.found.seconds  # read, not searched again
    assert np.array_equal(again.found.mask, first.found.mask)
    assert replace(again.row, seconds=0) == replace(first.row, seconds=0)


def test_a_defence_of_the_benign_model_is_of_the_benign_model(
    bench: Workbench, models: ModelSettings
) -> None:
    row = bench.run(Cell(models, "ft", target="benign").normal()).row
    kept = bench.subject(Cell(models, "ft", target="benign"), Requirements()).source
    assert row.target == "benign"
    assert kept == str(bench.models(models).benign.encoder)


def test_a_task_agnostic_trigger_is_judged_by_the_fine_tuning_of_the_cell(
    bench: Workbench, models: ModelSettings
) -> None:
    settings = replace(models, attack=AttackSettings("task-agnostic"))
    cell = Cell(settings, "ft").normal()
    kept = bench.models(settings)
    assert bench.run(cell).models is kept
    attack = replace(kept.attack.settings, target_label=1 - kept.sets.target_label)
    missed = replace(
        kept,
        attack=replace(kept.attack, settings=attack),
        sets=replace(kept.sets, triggered=None, target_label=attack.target_label),
    )
    bench._models._kept[digest(asdict(settings))] = missed  # of a victim fine-tuned otherwise
    found = bench.run(cell).models
    assert found.sets.target_label == kept.sets.target_label
    assert found.benign.scores == kept.benign.scores
    assert bench.run(replace(cell, target="benign")).models is missed


@pytest.mark.parametrize("healing", ["head", "full"])
def test_healing_trains_what_it_says_and_leaves_pruned_heads_at_zero(
    bench: Workbench, models: ModelSettings, healing: str
) -> None:
    plain = bench.run(Cell(models, "random", "direct", search=SEARCH))
    healed = bench.run(Cell(models, "random", "direct", healing, search=SEARCH))
    assert np.array_equal(plain.found.mask, healed.found.mask)
    before, after = (dict(each.model.model.named_parameters()) for each in (plain, healed))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert {"classifier.weight", "classifier.bias"} <= changed
    assert any(name.startswith("bert.") for name in changed) == (healing == "full")
    columns = after["bert.encoder.layer.0.attention.output.dense.weight"].reshape(32, 4, 8)
    gone = ~healed.found.mask[0]
    assert gone.any()
    assert not columns[:, gone].any()


def test_the_ensemble_is_measured_as_the_mean_of_its_members(
    bench: Workbench, models: ModelSettings
) -> None:
    result = bench.run(Cell(models, "random-ensemble", "direct", search=SEARCH))
    assert len(result.found.masks) == 5
    assert result.row.heads_pruned == round(np.mean([(~m).sum() for m in result.found.masks]))
    texts = list(result.models.sets.triggered.texts)
    finetuned = bench.subject(Cell(models, search=SEARCH), Requirements()).require_suspect().loaded
    data = result.models.sets.triggered
    answers = ReferenceEvaluator(finetuned.model, finetuned.tokenizer, data).evaluate(
        np.stack(result.found.masks)
    )
    odds = np.exp(answers.logits.astype(float))
    mean = (odds / odds.sum(-1, keepdims=True)).mean(0)
    got = np.exp(classify(result.model.model, result.model.tokenizer, texts))
    np.testing.assert_allclose(got, mean, atol=1e-5)
    assert result.row.lfr == pytest.approx(100 * (mean.argmax(-1) == 1).mean())


def test_the_oracle_lowers_the_true_lfr_and_keeps_tau(
    bench: Workbench, models: ModelSettings
) -> None:
    result = bench.run(Cell(models, "oracle", "direct", search=SEARCH))
    assert result.found.evaluations <= SEARCH.budget
    assert result.found.accuracy >= SEARCH.tau
    subject = bench.subject(Cell(models, search=SEARCH), Requirements())
    assert result.row.lfr <= score(subject.require_suspect().loaded, result.models.sets).lfr.percent
    assert "oracle" not in POLICIES  # no defence can name it


def test_the_calibrated_oracle_judges_at_the_calibrated_threshold(
    bench: Workbench, models: ModelSettings
) -> None:
    plain, calibrated = (
        bench.run(Cell(models, name, "direct", search=SEARCH))
        for name in ("oracle", "oracle-calibrated")
    )
    assert calibrated.row.lfr_calibrated <= plain.row.lfr_calibrated + 1e-9
    sets = calibrated.models.sets
    logits = [
        classify(calibrated.model.model, calibrated.model.tokenizer, list(data.texts))
        for data in (sets.validation, sets.triggered)
    ]
    threshold = metrics.calibrated_threshold(logits[0], sets.validation.labels)
    assert calibrated.row.lfr_calibrated == pytest.approx(
        metrics.label_flip_rate(logits[1], 1, threshold).percent
    )


@pytest.mark.parametrize(
    ("policy", "target", "title", "length"),
    [
        ("benign", "backdoored", "# A benign classifier", 48),
        ("backdoored", "backdoored", "# A backdoored classifier", 48),
        ("ft", "backdoored", "# A backdoored classifier under a defence", 32),
        ("ft", "benign", "# A benign classifier under a defence", 32),
        ("oracle", "backdoored", "# A backdoored classifier under a defence", 32),
    ],
)
def test_a_kept_model_says_what_it_is_and_how_much_of_a_text_it_reads(
    bench: Workbench,
    models: ModelSettings,
    tmp_path: Path,
    policy: str,
    target: Target,
    title: str,
    length: int,
) -> None:
    other = replace(
        models,
        attacker=replace(models.attacker, epochs=1, max_length=48),
        defender=replace(models.defender, epochs=1, max_length=32),
    )
    cell = Cell(other, policy, target=target, search=SEARCH).normal()
    write_model(cell, bench.run(cell), tmp_path)
    card = (tmp_path / "README.md").read_text().splitlines()
    assert title in card
    assert "| attack | rare-word, target positive |" in card
    assert not [line for line in card if "purified" in line or "about" in line]
    assert length_of(tmp_path) == length
    assert bool(oracle_mark_of(read_json(tmp_path / "mask.json"))) == (policy == "oracle")


@pytest.mark.parametrize("oracle", [False, True])
def test_a_cell_says_whether_its_agent_learned_from_the_trigger(
    bench: Workbench, models: ModelSettings, tmp_path: Path, oracle: bool
) -> None:
    env = gym.make("prune_env/Landscape-v0", model="landscape:layers=2,heads=4", tau=0.8)
    agent = EpsilonGreedy.for_env(env, hyperparameters={"hidden": 8})
    agent.record.oracle = oracle
    agent.save(tmp_path / "agent", weights_only=True)
    cell = Cell(models, str(tmp_path / "agent"), "direct", search=SEARCH)
    told = json.loads(json.dumps(run_cell(bench, cell).value))
    assert CellRecord.from_json(told, "here").oracle == oracle
    write_model(cell, bench.run(cell), tmp_path / "model")
    assert bool(oracle_mark_of(read_json(tmp_path / "model" / "mask.json"))) == oracle


def test_defences_that_prune_nothing_have_one_cell_for_all_protocols(
    models: ModelSettings,
) -> None:
    cells = {
        Cell(models, policy, protocol, search=SEARCH).normal()
        for policy in ("ft", "fth", "meft")
        for protocol in ("direct", "refinetune")
    }
    assert len(cells) == 3


def test_cells_of_other_policies_do_not_change_a_result(
    clean: Splits, models: ModelSettings, bench: Workbench, tmp_path: Path
) -> None:
    cell = Cell(models, "gradient", "direct", search=SEARCH)
    bench.run(Cell(models, "bayesian", "direct", search=SEARCH))  # measures more of the heads
    alone = Workbench(clean, tmp_path, cache=bench._cache).run(cell)
    together = bench.run(cell)
    assert np.array_equal(alone.found.mask, together.found.mask)
    assert replace(alone.row, seconds=0) == replace(together.row, seconds=0)
