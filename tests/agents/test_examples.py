"""The examples run, in small."""

import numpy as np

from examples import maskable_ppo, own_model, own_reward, ppo, vector_env
from prune_env.data.dataset import TextDataset


def test_ppo():
    assert 0 <= ppo.main(total_timesteps=512) <= 1


def test_maskable_ppo():
    assert 0 < maskable_ppo.main(total_timesteps=512) <= 1


def test_own_reward_is_what_the_agent_heeds():
    mask = own_reward.main(total_steps=600)
    assert mask[0].mean() > mask[1:].mean()


def test_own_model(tiny_folder, tiny_data: TextDataset, tmp_path):
    path = tmp_path / "clean.tsv"
    rows = zip(tiny_data.texts, tiny_data.labels.tolist(), strict=True)
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    pruned, accuracy = own_model.main(str(tiny_folder), str(path), max_evaluations=10)
    assert pruned >= 0
    assert 0 <= accuracy <= 1


def test_vector_env():
    assert 0 < vector_env.main(steps=60) < 1
    assert np.isfinite(vector_env.main(steps=40))
