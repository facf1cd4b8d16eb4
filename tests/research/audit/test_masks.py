"""The masks on which rewards are judged."""

import numpy as np
import pytest

from prune_env.env.landscape import landscape_subject
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.importance import DEFAULT_METRICS
from prune_env.research.audit.masks import PATHS, draw_masks


@pytest.fixture(scope="module")
def subject():
    return landscape_subject(DEFAULT_METRICS, layers=4, heads=6, seed=0)


def test_masks_differ_and_hold_every_source(subject):
    draw = draw_masks(subject, 60)
    assert len(draw.masks) == len(draw.sources) == 60
    assert len({mask.tobytes() for mask in draw.masks}) == 60
    assert set(draw.sources) >= {"full", "random", "gradient", "greedy"}
    assert draw.sources.count("random") >= 28
    assert draw.masks[draw.sources.index("full")].all()


def test_every_layer_keeps_a_head_and_sizes_are_spread(subject):
    draw = draw_masks(subject, 60, largest_share=0.5)
    assert draw.masks.any(axis=2).all()
    pruned = (~draw.masks).sum(axis=(1, 2))
    assert pruned.max() <= 12
    assert len(set(pruned.tolist())) >= 10


def test_a_path_prunes_the_heads_that_the_policy_names(subject):
    draw = draw_masks(subject, 13, paths=["gate-gradient"], random_share=0.0)
    order = subject.importance[..., DEFAULT_METRICS.index("gate_gradient")].ravel().argsort()
    for mask, source in zip(draw.masks, draw.sources, strict=True):
        if source == "gate-gradient":
            pruned = np.flatnonzero(~mask)
            assert len(set(order[: len(pruned) + 2]) & set(pruned)) == len(pruned)


def test_the_seed_decides(subject):
    first, again = (draw_masks(subject, 20, seed=3) for _ in range(2))
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.masks, draw_masks(subject, 20, seed=4).masks)


def test_a_small_model_gives_what_it_has():
    small = landscape_subject(DEFAULT_METRICS, layers=1, heads=3, seed=0)
    draw = draw_masks(small, 50, largest_share=1.0)
    assert 1 < len(draw.masks) <= 7


def test_wrong_arguments_are_refused(subject):
    with pytest.raises(SettingsError):
        draw_masks(subject, 0)
    with pytest.raises(SettingsError):
        draw_masks(subject, 5, random_share=1.5)
    with pytest.raises(UnknownNameError):
        draw_masks(subject, 5, paths=["nonsense"])


def test_paths_are_known():
    assert len(PATHS) == len(set(PATHS))
