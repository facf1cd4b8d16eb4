"""Weights of rewards that are learned on audits whose answer is known."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune_env.env.rewards.reward import make_reward
from prune_env.errors import MetricError, SettingsError, StateError
from prune_env.research.audit import Results, combine, judge, shared_rewards
from prune_env.research.audit.audit import HIDDEN
from prune_env.research.audit.combination import LEAST_SPREAD
from prune_env.research.audit.masks import Draw
from prune_env.utils.limits import STATE_BYTES

MASKS = 60


def audit_of(
    folder: Path, seed: int, *, spread: float = 0.5, level: float = 0.0, **extra: float
) -> Results:
    """Write an audit in which `low` + 3 * `high` is what the LFR falls with, and `noise` is not.

    `level` is added to every reward, as models differ; `extra` holds rewards of one value.
    """
    draw = np.random.default_rng(seed)
    masks = draw.random((MASKS, 2, 4)) < 0.7
    masks[0] = True
    low, high, noise = draw.random((3, MASKS))
    lfr = 0.9 - spread * (low + 3 * high) / 4
    results = Results.open(
        folder / "masks.json",
        {"made": "here"},
        lambda: Draw(masks, ("full", *("random",) * (MASKS - 1))),
    )
    values = {
        "accuracy": 0.9 - 0.1 * draw.random(MASKS),
        "accuracy_calibrated": np.full(MASKS, 0.8),
        "pruned": (~masks).sum(axis=(1, 2)).astype(float),
        "lean": draw.random(MASKS) - 0.5,
        "lfr": draw.random(MASKS),
        "lfr_calibrated": lfr,
        "reward sparsity": level + low,
        "reward entropy": level + high,
        "reward consistency": level + 100 * noise,
    }
    assert set(HIDDEN) <= set(values)
    results.extend(values | {f"reward {name}": np.full(MASKS, extra[name]) for name in extra})
    return Results.read(folder / "masks.json")


NAMES = ("sparsity", "entropy", "consistency")


@pytest.fixture
def audits(tmp_path: Path) -> list[Results]:
    return [audit_of(tmp_path / str(seed), seed, level=seed) for seed in range(3)]


def test_it_finds_how_the_rewards_are_to_be_weighed(audits: list[Results]) -> None:
    found = combine(audits, NAMES)
    assert found.weights["entropy"] / found.weights["sparsity"] == pytest.approx(3, rel=0.15)
    assert abs(found.weights["consistency"] * 100) < 0.1 * found.weights["entropy"]


def test_a_combination_ranks_masks_of_a_model_it_was_not_learned_from(
    audits: list[Results],
) -> None:
    judged = judge(audits[:2], audits[2], NAMES)
    combined, alone = judged.correlations["calibrated"], judged.of_alone["calibrated"]
    assert combined is not None
    assert alone is not None
    assert combined.value > 0.98 > alone.value
    assert judged.alone == judged.best == "entropy"
    assert judged.combination == combine(audits[:2], NAMES)


def test_the_best_in_hindsight_may_be_another(tmp_path: Path, audits: list[Results]) -> None:
    other = audit_of(tmp_path / "other", 9)
    columns = {name: other.column(name) for name in other._columns}
    columns["lfr_calibrated"] = 0.9 - columns["reward consistency"] / 200
    swapped = Results.open(
        tmp_path / "swapped/masks.json", {}, lambda: Draw(other.masks, other.sources)
    )
    swapped.extend(columns)
    judged = judge(audits, swapped, NAMES)
    assert (judged.alone, judged.best) == ("entropy", "consistency")


def test_usable_masks_are_told_by_the_unpruned_model(audits: list[Results]) -> None:
    hidden = audits[2]
    whole = hidden.column("accuracy")[hidden.column("pruned") == 0].max()
    for drop in (0.03, 1.0):
        judged = judge(audits[:2], hidden, NAMES, max_drop=drop)
        found = judged.correlations["usable"]
        assert found is not None
        assert found.masks == (hidden.column("accuracy") >= whole - drop).sum()
    with pytest.raises(SettingsError, match="max_drop"):
        judge(audits[:2], hidden, NAMES, max_drop=3.0)


def test_the_formula_is_a_reward_of_the_same_values(audits: list[Results]) -> None:
    found = combine(audits, NAMES)
    reward = make_reward(found.formula)
    assert dict(zip(reward.names, (weight for weight, _ in reward.terms), strict=True)) == (
        found.weights
    )
    total = sum(weight * audits[0].rewards[name] for name, weight in found.weights.items())
    np.testing.assert_allclose(found.values(audits[0]), total)


def test_noise_raises_the_penalty(tmp_path: Path) -> None:
    clear = [audit_of(tmp_path / f"c{seed}", seed) for seed in range(2)]
    assert combine(clear, NAMES).penalty < max(
        combine(_shuffled(clear, tmp_path, seed), NAMES).penalty for seed in range(4)
    )


def _shuffled(audits: list[Results], folder: Path, seed: int) -> list[Results]:
    out = []
    for number, audit in enumerate(audits):
        draw = np.random.default_rng((seed, number))
        columns = {name: audit.column(name) for name in audit._columns}
        columns["lfr_calibrated"] = draw.permutation(columns["lfr_calibrated"])
        place = folder / f"shuffled {seed} {number}" / "masks.json"
        kept = Results.open(place, {}, lambda audit=audit: Draw(audit.masks, audit.sources))
        kept.extend(columns)
        out.append(kept)
    return out


def test_an_audit_whose_lfr_stays_teaches_nothing(tmp_path: Path, audits: list[Results]) -> None:
    flat = audit_of(tmp_path / "flat", 7, spread=LEAST_SPREAD / 2)
    assert combine([*audits, flat], NAMES) == combine(audits, NAMES)
    with pytest.raises(SettingsError, match="nothing to learn from"):
        combine([flat], NAMES)


def test_a_reward_that_stays_gets_no_weight(tmp_path: Path) -> None:
    audits = [audit_of(tmp_path / str(seed), seed, latent=seed + 0.5) for seed in range(2)]
    assert set(combine(audits, (*NAMES, "latent")).weights) == set(NAMES)
    with pytest.raises(SettingsError, match="nothing to combine"):
        combine(audits, ("latent",))


def test_shared_rewards_are_those_of_all_masks_of_all(tmp_path: Path) -> None:
    one = audit_of(tmp_path / "one", 0, mine=1.0)
    two = audit_of(tmp_path / "two", 1, **{"a + b": 2.0})
    two.extend({"reward mine": np.ones(3)})  # stopped after three masks
    three = audit_of(tmp_path / "three", 2, **{"a + b": 2.0})
    assert shared_rewards([one, two]) == NAMES
    assert shared_rewards([one]) == (*NAMES, "mine")
    assert shared_rewards([two, three]) == NAMES  # a formula is no term
    with pytest.raises(SettingsError, match="lacks what is to be combined"):
        combine([one, two], ("mine",))


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = audit_of(tmp_path / "bad", 0, mine=-7.5).path
    path.write_text(path.read_text().replace("-7.5", "NaN", 1))
    with pytest.raises(MetricError, match="not finite"):
        combine([Results.read(path)], (*NAMES, "mine"))


def test_no_audit_and_no_reward_are_refused(audits: list[Results]) -> None:
    for given, rewards in (([], NAMES), (audits, ())):
        with pytest.raises(SettingsError, match="at least one of each"):
            combine(given, rewards)


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"masks\.json"):
        Results.read(tmp_path / "masks.json")


def test_formulas_are_not_weighed_again(tmp_path: Path) -> None:
    held = audit_of(tmp_path, 0, **{"2*entropy": 1.0, "sparsity + 0.5 * accuracy": 2.0})
    assert shared_rewards([held]) == NAMES
    with pytest.raises(SettingsError, match=r"2\*entropy"):
        combine([held], ["2*entropy", "sparsity"])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda held: held.update(shape=[25_000, 25_000]), "1,000"),
        (lambda held: held.update(shape=[2, 0]), "1,000"),
        (lambda held: held.update(shape=[2, 4, 1]), "is no file of an audit"),
        (lambda held: held.update(shape=[True, 8]), "1,000"),
        (lambda held: held.update(shape=[1000, 1000], pruned=[[]] * 300), "ARRAY_BYTES"),
        (lambda held: held["pruned"].__setitem__(3, [-1]), "from 0 to 7"),
        (lambda held: held["pruned"].__setitem__(3, [8]), "from 0 to 7"),
        (lambda held: held["sources"].pop(), "sources of"),
        (lambda held: held["columns"].update(lfr=[float("nan")]), "not finite"),
        (lambda held: held["columns"].update(lfr=[10**400]), "is no file of an audit"),
        (lambda held: held["columns"].update(lfr=[0.5] * (MASKS + 1)), "values of"),
    ],
)
def test_a_file_of_a_stranger_is_refused_before_memory_is_taken(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], told: str
) -> None:
    path = audit_of(tmp_path, 0).path
    held = json.loads(path.read_text())
    spoil(held)
    path.write_text(json.dumps(held))
    tracemalloc.start()
    with pytest.raises(StateError, match=told):
        Results.read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < STATE_BYTES.default + 16 * 2**20  # room for the file, whatever its size


def test_an_audit_without_a_whole_reward_is_named(tmp_path: Path) -> None:
    one, two = audit_of(tmp_path / "one", 0), audit_of(tmp_path / "two", 1)
    two._columns = {name: values[:3] for name, values in two._columns.items()}  # interrupted
    with pytest.raises(SettingsError, match=r"two.masks.json: none.*also if it was interrupted"):
        combine([one, two], shared_rewards([one, two]))
