"""The examples run, in small, and those that learn prune more than chance does."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from examples import maskable_ppo, own_model, own_reward, ppo, vector_env
from prune_env.data.dataset import TextDataset
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.subject import Subject
from prune_env.importance import DEFAULT_METRICS
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.offline import write_minari
from prune_env.research.recording.recording import Recording


@pytest.fixture(scope="module")
def by_chance() -> float:
    """Share of the heads that random legal play prunes on the landscape of the examples."""
    env = gym.make("prune_env/Landscape-v0")
    random = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        _, info = env.reset()
        done = False
        while not done:
            heads = np.flatnonzero(info["action_mask"][:-1])
            _, _, terminated, truncated, info = env.step(random.choice(heads))
            done = terminated or truncated
        shares.append((~info["mask"]).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("example", [ppo, maskable_ppo], ids=["ppo", "maskable_ppo"])
def test_it_learns_to_prune_more_than_chance(example, by_chance: float):
    """By 1,024 steps both reach 0.46, where chance prunes 0.19."""
    assert by_chance == pytest.approx(0.19, abs=0.03)
    assert example.main(total_timesteps=1024) > 1.5 * by_chance


def test_offline_it_learns_to_prune_more_than_what_it_saw(tmp_path, monkeypatch):
    """300 ways on a landscape prune 0.10 at the mean and 0.29 at best."""
    minari = pytest.importorskip("minari")
    pytest.importorskip("torchrl")
    from examples import offline_cql  # noqa: PLC0415 - which imports both

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    evaluator = LandscapeEvaluator(4, 6, seed=1)
    subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS)
    table = Recording(subject, ("sparsity",)).run(tmp_path / "r.npz", 600)
    fit_surrogate(table, tmp_path / "s.npz")
    write_minari(table, tmp_path / "s.npz", "ways-v0", episodes=300)
    returns = [episode.rewards.sum() for episode in minari.load_dataset("ways-v0")]
    assert offline_cql.main("ways-v0", updates=300) > 2 * np.mean(returns)


@pytest.mark.parametrize("name", ["offline_cql", "own_model"])
def test_what_takes_arguments_tells_them(name: str):
    if name == "offline_cql":
        pytest.importorskip("minari")
        pytest.importorskip("torchrl")
    path = Path(own_model.__file__).with_name(f"{name}.py")
    command = [sys.executable, str(path), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "usage" in told


def test_own_reward_is_what_the_agent_heeds():
    mask = own_reward.main(total_steps=600)
    assert mask[0].mean() > mask[1:].mean()


def test_own_model(tiny_folder, tiny_data: TextDataset, tmp_path):
    path = tmp_path / "clean.tsv"
    rows = zip(tiny_data.texts, tiny_data.labels.tolist(), strict=True)
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    env = gym.make("prune_env/HeadPruning-v0", model=str(tiny_folder), data=str(path), tau=None)
    tau = env.reset()[1]["tau"]
    pruned, accuracy = own_model.main(str(tiny_folder), str(path), max_evaluations=10)
    assert pruned > 0
    assert tau <= accuracy <= 1


def test_vector_env_prunes_what_single_ones_prune_by_chance(by_chance: float):
    assert vector_env.main() == pytest.approx(by_chance, abs=0.03)
