"""The synthetic landscape: an evaluator like any other, with something to learn in it."""

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from prune_env.env.landscape import LandscapeEvaluator, landscape_subject
from prune_env.errors import SettingsError
from prune_env.evaluation import Evaluator
from prune_env.importance.registry import UNIT_METRICS

TAU = 0.85


def random_masks(count, shape=(6, 12), seed=0):
    random = np.random.default_rng(seed)
    return random.random((count, *shape)) < random.random((count, 1, 1))


def test_it_is_an_evaluator():
    landscape = LandscapeEvaluator(seed=1)
    assert isinstance(landscape, Evaluator)
    masks = random_masks(20)
    evaluation = landscape.evaluate(masks)
    np.testing.assert_array_equal(evaluation.accuracy, landscape.accuracy(masks))
    assert evaluation.predictions.shape == (20, 400)
    assert landscape.evaluations == 40


def test_what_it_hands_out_may_be_changed():
    landscape = LandscapeEvaluator(2, 3)
    landscape.available[:] = False
    assert landscape.available.all()


def test_a_mask_has_the_same_accuracy_in_any_company():
    landscape = LandscapeEvaluator(seed=1)
    masks = random_masks(64)
    alone = [landscape.accuracy(mask[None])[0] for mask in masks]
    np.testing.assert_array_equal(landscape.accuracy(masks), alone)


def test_it_is_the_formula_of_its_docstring():
    landscape = LandscapeEvaluator(2, 3, seed=4, sentences=50)
    mask = np.array([[0, 1, 0], [1, 0, 1]], bool)
    pruned = ~mask.ravel()
    expected = landscape._base.astype(float).copy()
    for head in range(6):
        expected -= landscape._weights[head] * pruned[head]
    for pair, (i, j) in enumerate(zip(landscape._first, landscape._second, strict=True)):
        expected -= landscape._weights[6 + pair] * (pruned[i] & pruned[j])
    np.testing.assert_allclose(landscape._margins(mask[None])[0], expected, atol=1e-5)
    np.testing.assert_allclose(landscape.evaluate(mask[None]).margins[0], expected, atol=1e-5)


def test_heads_interact():
    landscape = LandscapeEvaluator(seed=0)
    loss = {}
    for first, second in zip(landscape._first, landscape._second, strict=True):
        masks = np.ones((4, 72), bool)
        masks[1, first] = masks[2, second] = masks[3, [first, second]] = False
        whole, one, two, both = landscape._margins(masks.reshape(4, 6, 12)).mean(axis=1)
        loss[first, second] = (whole - both) - (whole - one) - (whole - two)
    surplus = np.array(list(loss.values()))
    assert (surplus > 0.01).sum() >= 10  # backups: dearer together
    assert (surplus < -0.001).sum() >= 10  # feeders: cheaper together


def prune_in(landscape, order):
    mask = np.ones((1, 6, 12), bool)
    for head in order:
        mask.flat[head] = False
        if landscape.accuracy(mask)[0] < TAU:
            mask.flat[head] = True
            break
    return 72 - mask.sum()


def greedily(landscape):
    mask = np.ones((6, 12), bool)
    while True:
        heads = np.flatnonzero(mask)
        tries = np.repeat(mask[None], len(heads), axis=0)
        tries.reshape(len(heads), -1)[np.arange(len(heads)), heads] = False
        evaluation = landscape.evaluate(tries)
        best = evaluation.loss.argmin()
        if evaluation.accuracy[best] < TAU:
            return 72 - mask.sum()
        mask = tries[best]


@pytest.mark.parametrize("seed", range(3))
def test_search_beats_the_fixed_order_and_that_beats_chance(seed):
    subject = landscape_subject(seed=seed)
    landscape = subject.evaluator
    costs = subject.importance[..., subject.metrics.index("gate_gradient")].ravel()
    random = np.random.default_rng(seed)
    chance = np.mean([prune_in(landscape, random.permutation(72)) for _ in range(10)])
    ordered = prune_in(landscape, costs.argsort())
    assert ordered > chance + 8
    assert greedily(landscape) > ordered + 8


def test_seeds_and_sizes_make_different_landscapes():
    made = [LandscapeEvaluator(6, 12, seed) for seed in (0, 1)] + [LandscapeEvaluator(6, 12, 0)]
    masks = random_masks(20)
    accuracies = [landscape.accuracy(masks) for landscape in made]
    assert (accuracies[0] != accuracies[1]).any()
    np.testing.assert_array_equal(accuracies[0], accuracies[2])
    assert made[0].fingerprint == made[2].fingerprint != made[1].fingerprint


def units_subject(seed=0, **numbers):
    return landscape_subject(UNIT_METRICS, 3, 8, seed, groups=8, steps=4, **numbers)


def test_with_groups_and_steps_its_columns_are_units():
    subject = units_subject()
    units = subject.units
    assert subject.shape == (3, 8 + 8 + 4 * 4)
    assert (units.heads, units.groups, units.maps, units.steps) == (8, 8, 4, 4)
    shown = dict(zip(UNIT_METRICS, np.moveaxis(subject.importance, -1, 0), strict=True))
    assert shown["is_neurons"][1].tolist() == [0] * 8 + [1] * 8 + [0] * 16
    assert shown["step"][2].tolist() == [0] * 16 + [1, 2, 3, 4] * 4
    assert shown["depth"][:, 5].tolist() == [0, 1, 2]
    assert (shown["key_gradient"][:, 8:] == shown["key_gradient"][:, :8].max()).all()
    assert subject.evaluator.fingerprint != LandscapeEvaluator(3, 8).fingerprint


def test_its_name_says_all_of_its_units():
    assert units_subject(5).name == "landscape:layers=3,heads=8,groups=8,steps=4,seed=5"
    assert landscape_subject(layers=3, heads=8).name == "landscape:layers=3,heads=8,seed=0"


def test_quiet_groups_and_first_steps_cost_least():
    steps, groups = np.zeros(4), np.zeros(8)
    for seed in range(10):
        subject = units_subject(seed)
        costs = subject.importance[..., UNIT_METRICS.index("gate_gradient")]
        steps += subject.units.step_part(costs).mean((0, 1))
        groups += subject.units.group_part(costs).mean(0)
    assert (np.diff(steps) > 0).all()
    assert groups[:4].sum() < groups[4:].sum() / 2


def test_which_steps_are_pruned_does_not_count_but_how_many():
    subject = units_subject()
    masks = np.ones((2, *subject.shape), bool)
    masks[0, 1, 16:18] = False
    masks[1, 1, 18:20] = False
    margins = subject.evaluator.evaluate(masks).margins
    np.testing.assert_array_equal(margins[0], margins[1])


def test_its_units_are_played_by_name():
    arguments = {"metrics": ",".join(UNIT_METRICS), "tau": None, "max_drop": 0.1}
    name = "landscape:layers=3,heads=8,groups=8,steps=4"
    env = gym.make("prune_env/Landscape-v0", model=name, **arguments)
    _, info = env.reset(seed=0)
    assert (~info["action_mask"].astype(bool)).sum() == 3 * 4 * 3  # later steps of twelve maps
    _, _, _, _, info = env.step(16)
    assert info["units_pruned"] == {"head": 0, "neurons": 0, "map": 1}
    same = gym.make("prune_env/HybridPruning-v0", model=name, **arguments)
    assert same.unwrapped.subject.evaluator is env.unwrapped.subject.evaluator
    with pytest.raises(SettingsError, match="holds no texts"):
        gym.make("prune_env/HybridPruning-v0", model=name, neuron_groups=2, **arguments)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 1), (24, 16)])
def test_any_size_will_do(shape):
    subject = landscape_subject(layers=shape[0], heads=shape[1])
    assert subject.shape == shape
    assert subject.evaluator.accuracy(np.ones((1, *shape), bool))[0] > 0.85


@pytest.mark.parametrize(
    "arguments",
    [
        {"layers": 0},
        {"heads": -1},
        {"sentences": 0},
        {"seed": -1},
        {"groups": -1},
        {"steps": -1},
        {"layers": 100_000, "heads": 100_000},
        {"sentences": 10**9},
        {"groups": 10**9},
    ],
)
def test_sizes_are_checked(arguments):
    with pytest.raises(SettingsError):
        LandscapeEvaluator(**arguments)


def test_metrics_are_named_and_fixed():
    one = landscape_subject(("magnitude", "gate_gradient"))
    other = landscape_subject(("gate_gradient", "attention_entropy"))
    np.testing.assert_array_equal(one.importance[..., 1], other.importance[..., 0])
    assert not np.array_equal(one.importance[..., 0], other.importance[..., 1])


@pytest.mark.parametrize("numbers", [{"seed": 3}, {"sentences": 60}, {"groups": 2, "steps": 1}])
def test_a_subject_is_never_copied_and_pickled_by_name(numbers):
    subject = landscape_subject(**numbers)
    assert copy.deepcopy(subject) is subject
    again = pickle.loads(pickle.dumps(subject))
    assert len(pickle.dumps(subject)) < 500
    assert again.evaluator.fingerprint == subject.evaluator.fingerprint


def test_playing_it_imports_neither_torch_nor_transformers():
    code = (
        "import sys, gymnasium, prune_env\n"
        "light = set(sys.modules)\n"
        "env = gymnasium.make('prune_env/Landscape-v0'); env.reset(); env.step(0)\n"
        "print(sorted({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    ).stdout
    assert told.strip() == "[]"
