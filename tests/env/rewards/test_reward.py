"""What is paid."""

import numpy as np
import pytest

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.rewards.oracle import Oracle
from prune_env.env.rewards.reward import REWARDS, Reward, Sparsity, WeightedSum, make_reward
from prune_env.errors import SettingsError, UnknownNameError
from tests.env.support import PrescribedEvaluator, env_over, falls_by


def test_sparsity_pays_each_checked_head():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), tau=0.75)
    env.reset()
    paid = [env.step(action)[1] for action in (0, 1, 4)]
    assert paid == [1 / 8, 1 / 8, 0.0]


def test_a_share_is_of_the_heads_that_the_model_has():
    available = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], bool)
    env = env_over(PrescribedEvaluator(lambda mask: 1.0, available=available))
    env.reset()
    assert env.step(0)[1] == pytest.approx(1 / 5)


def test_accuracy_pays_its_rise():
    gains = PrescribedEvaluator(lambda mask: 0.9 if mask.all() else 0.8 + 0.1 * mask[1, 0])
    env = env_over(gains, tau=0.5, reward="accuracy")
    env.reset()
    np.testing.assert_allclose([env.step(a)[1] for a in (0, 4, 1)], [0, -0.1, 0], atol=1e-12)


def test_the_return_is_what_the_last_mask_is_worth():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), tau=0.55, reward="sparsity + 2 * accuracy")
    env.reset()
    total = sum(env.step(action)[1] for action in (0, -1, 1, 0, 5))
    assert total == pytest.approx(3 / 8 - 2 * 0.3)
    assert env.state.total_reward == pytest.approx(total)


def test_terms_of_a_sum_appear_in_info():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), reward="0.5 * sparsity + -2 * accuracy")
    _, info = env.reset()
    assert info["reward_terms"] == {"sparsity": 0.0, "accuracy": 0.0}
    _, reward, _, _, info = env.step(3)
    assert info["reward_terms"] == pytest.approx({"sparsity": 0.0625, "accuracy": 0.2})
    assert reward == pytest.approx(0.2625)
    assert all(type(value) is float for value in info["reward_terms"].values())


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("sparsity", "sparsity"),
        ("1 * sparsity", "sparsity"),
        ("0.5*sparsity + -2e-1 * accuracy", "0.5 * sparsity + -0.2 * accuracy"),
    ],
)
def test_formulas_are_read_and_written(formula, text):
    assert str(make_reward(formula)) == text
    assert str(make_reward(text)) == text


@pytest.mark.parametrize(
    "formula", ["", "2 *", "* sparsity", "two * sparsity", "sparsity accuracy", "nan * sparsity"]
)
def test_a_formula_that_makes_no_sense_is_refused(formula):
    with pytest.raises(SettingsError):
        make_reward(formula)


def test_wrong_sums_are_refused():
    with pytest.raises(SettingsError, match="once"):
        make_reward("sparsity + sparsity")
    with pytest.raises(SettingsError, match="once"):
        WeightedSum([])
    with pytest.raises(UnknownNameError, match="did you mean 'sparsity'"):
        make_reward("sparsty")


def test_a_weight_of_numpy_reads_like_any_other():
    reward = WeightedSum([(np.float64(0.5), Sparsity())])
    assert str(reward) == str(make_reward("0.5 * sparsity"))


def test_the_range_is_that_of_the_scores():
    assert make_reward("sparsity + -0.5 * accuracy").range == (-0.5, 1.0)


def test_an_oracle_comes_as_an_object_and_is_known_as_one():
    with pytest.raises(SettingsError, match="triggered texts"):
        make_reward("oracle")
    triggered = PrescribedEvaluator(lambda mask: 1.0 if not mask[1, 2] else 0.2)
    env = env_over(PrescribedEvaluator(falls_by(0.0)), reward=Oracle(triggered))
    assert env.reward.oracle
    assert not make_reward("sparsity + accuracy").oracle
    env.reset()
    assert [env.step(action)[1] for action in (0, 6, 1)] == pytest.approx([0, 0.8, 0])
    assert env.fork().reward.terms[0][1].triggered is triggered


def test_an_oracle_over_a_pool_reads_each_models_triggered_texts():
    pool = ["landscape:layers=2,heads=4,seed=1", "landscape:layers=2,heads=4,seed=2"]
    triggered = {
        name: PrescribedEvaluator(lambda mask, gain=gain: gain * (1 - mask.all()))
        for name, gain in zip(pool, (0.25, 0.75), strict=True)
    }
    env = HeadPruningEnv(pool=pool, tau=0.0, reward=Oracle(triggered))
    for name, gain in zip(pool, (0.25, 0.75), strict=True):
        env.reset(options={"model": name})
        assert env.step(0)[1] == gain


def test_an_oracle_lacks_no_model_of_the_pool():
    pool = ["landscape:layers=2,heads=4,seed=1", "landscape:layers=2,heads=4,seed=2"]
    triggered = {pool[0]: PrescribedEvaluator(falls_by(0.0))}
    with pytest.raises(SettingsError, match=r"no triggered texts for landscape.*seed=2"):
        HeadPruningEnv(pool=pool, tau=0.0, reward=Oracle(triggered))
    with pytest.raises(SettingsError, match=r"another model.*\(3, 4\) layers and heads"):
        HeadPruningEnv(
            model="landscape:layers=3,heads=4", tau=0.0, reward=Oracle(triggered[pool[0]])
        )


def test_an_oracle_is_asked_of_a_model_that_is_named_at_a_reset():
    pool = ["landscape:layers=2,heads=4,seed=1", "landscape:layers=2,heads=4,seed=2"]
    triggered = {name: PrescribedEvaluator(falls_by(0.0)) for name in pool}
    env = HeadPruningEnv(pool=pool, tau=0.0, reward=Oracle(triggered))
    with pytest.raises(SettingsError, match=r"no triggered texts for landscape.*seed=3"):
        env.reset(options={"model": "landscape:layers=2,heads=4,seed=3"})


def test_only_a_mask_that_is_new_is_scored():
    """A reward may ask a model thousands of texts for each of them."""

    class Counted(Sparsity):
        asked = 0

        def score(self, subject, masks, accuracy):
            self.asked += len(masks)
            return super().score(subject, masks, accuracy)

    reward = Counted()
    env = env_over(PrescribedEvaluator(falls_by(0.1)), reward=reward, prune_step=2, tau=0.75)
    env.reset()
    # Group open, looked at, refused, open, broken and taken back but for one head.
    asked = [reward.asked] + [env.step(action)[4] and reward.asked for action in (0, 1, 0, 4, 5)]
    assert asked == [1, 1, 2, 2, 2, 2]


def test_users_add_their_own_reward():
    class FirstLayer(Reward):
        """Share of the first layer that is pruned."""

        name = "first-layer"
        range = (0.0, 1.0)
        source = "this test"
        reads = "the mask"

        def score(self, subject, masks, accuracy):
            return 1 - masks[:, 0].mean(axis=1)

    REWARDS.register("first-layer", FirstLayer, help="share of the first layer that is pruned")
    try:
        env = env_over(PrescribedEvaluator(falls_by(0.0)), reward="sparsity + first-layer")
        env.reset()
        assert env.step(0)[1] == 1 / 8 + 1 / 4
        assert env.step(4)[1] == 1 / 8
    finally:
        del REWARDS._entries["first-layer"]


def test_objects_are_taken_as_they_are():
    assert env_over(PrescribedEvaluator(falls_by(0.0)), reward=Sparsity()).reward.names == (
        "sparsity",
    )


def test_every_reward_says_what_it_is():
    for entry in REWARDS:
        reward = entry.load()
        low, high = reward.range
        assert low < high
        assert reward.name == entry.name
        assert reward.source
        assert reward.reads
        assert reward.oracle == ("trigger" in reward.reads)


class _Fixed(Reward):
    """Scores as it is told."""

    name = "fixed"
    range = (0.0, 1.0)
    source = "this test"
    reads = "nothing"

    def __init__(self, told):
        self.told = told

    def score(self, subject, masks, accuracy):
        return self.told(len(masks))


@pytest.mark.parametrize(
    "told",
    [
        lambda count: np.full(count, np.nan),
        lambda count: np.full(count, -np.inf),
        lambda count: np.ones((count, 2)),
        lambda count: np.ones(count + 1),
        lambda count: np.full(count, "1"),
        lambda count: [1.0] * count,
        lambda count: 1.0,
        lambda count: None,
    ],
)
def test_a_reward_that_scores_no_mask_is_named(told):
    reward = WeightedSum([(1.0, Sparsity()), (2.0, _Fixed(told))])
    env = env_over(PrescribedEvaluator(falls_by(0.0)), reward=reward)
    with pytest.raises(
        SettingsError, match=r"The reward 'fixed'.*Expected: float64 \(N,\), finite"
    ):
        env.reset()


def test_a_reward_has_a_name():
    class Nameless(Reward):
        def score(self, subject, masks, accuracy):
            return accuracy

    with pytest.raises(SettingsError, match=r"The reward Nameless has no name.*Expected"):
        make_reward(Nameless())


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (5, "cannot be made.*not callable"),
        (Reward, "cannot be made.*abstract"),
        (_Fixed, "cannot be made.*told"),
        (dict, "is none.*dict"),
    ],
)
def test_what_is_no_reward_is_named_where_it_is_asked_for(monkeypatch, target, said):
    monkeypatch.setattr(REWARDS, "_entries", dict(REWARDS._entries))
    REWARDS.register("mine", target, help="none")
    with pytest.raises(SettingsError, match=f"'mine'.*{said}"):
        make_reward("sparsity + mine")


class _Writes(Reward):
    name, range, source, reads = "writes", (0.0, 1.0), "a test", "the mask"

    def score(self, subject, masks, accuracy):
        masks[:] = True
        accuracy[:] = 1.0
        return np.zeros(len(masks))


def test_a_term_that_writes_into_what_it_is_given_changes_no_other():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), tau=0.0)
    subject = env.core.pool.boards[0].subject
    masks = np.ones((1, *subject.shape), bool)
    masks[0, 0, 0] = False
    reward = make_reward("accuracy")
    both = WeightedSum([(1.0, _Writes()), (1.0, Sparsity()), *reward.terms])
    scores = both.score(subject, masks, np.array([0.5]))
    assert scores[0].tolist() == [0.0, pytest.approx(1 / subject.evaluator.available.sum()), 0.5]
    assert not masks[0, 0, 0]
