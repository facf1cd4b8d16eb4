"""The folder of a training: what it is resumed from, and what it refuses."""

import errno
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.agents import callbacks, load_agent, training
from prune_env.agents.epsilon_greedy import EpsilonGreedy
from prune_env.agents.run_folder import CODE, check_same_models, identities
from prune_env.agents.shipped import SHIPPED
from prune_env.agents.side_by_side import train_trials
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.training import train
from prune_env.agents.trials import make_trials
from prune_env.cli import main
from prune_env.data.dataset import TextDataset
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.policy import POLICIES
from prune_env.env.pool import Pool
from prune_env.env.rewards import REWARDS
from prune_env.env.rewards.reward import make_reward
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.importance import DEFAULT_METRICS
from prune_env.models import load_classifier
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.recording import Recording
from prune_env.utils.files import read_json, write_json
from prune_env.utils.leases import locked
from prune_env.utils.registry import Entry
from tests.agents.support import PPO, SETTINGS

BEST_OF = (
    '{"total_reward": %s, "steps": 1, "models": [{"model": "m", "total_reward": 0.5,'
    ' "accuracy": %s, "heads_pruned": 0, "mask": [[1]]}]}'
)
IMPROVES = replace(SETTINGS, total_steps=120, env_arguments={"model": "landscape:layers=2,heads=3"})
"""A training whose best agent is replaced by a better one."""


def _newest_first(best: Path) -> list[Path]:
    return sorted(best.glob("*.safetensors"), reverse=True)


def _empty(*paths: Path) -> None:
    for path in paths:
        path.write_bytes(b"")


SPOIL_BEST = {
    "missing": shutil.rmtree,
    "all of it truncated": lambda best: _empty(*_newest_first(best)),
    "the newest truncated": lambda best: _empty(_newest_first(best)[0]),
}


@pytest.mark.parametrize("how", SPOIL_BEST)
def test_a_damaged_best_agent_is_known_before_the_training_and_not_after_it(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "run"
    best = train(IMPROVES, folder).best
    assert len(_newest_first(folder / "best")) == 2
    SPOIL_BEST[how](folder / "best")
    with monkeypatch.context() as patch:
        patch.setattr(training, "learning_env", lambda *_: pytest.fail("began"))
        with pytest.raises(StateError, match=r"best is missing or damaged.*Remedy: delete "):
            train(IMPROVES, folder, resume=True)
    (folder / "best.json").unlink()  # as the remedy says
    shutil.rmtree(folder / "best", ignore_errors=True)
    assert train(IMPROVES, folder, resume=True).best is not None
    assert load_agent(folder / "best").record.steps >= best["steps"]


def test_a_run_killed_between_the_best_agent_and_what_it_reached_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, folder, told = train(IMPROVES, tmp_path / "whole"), tmp_path / "run", []

    def killed(path: Path, value: object) -> None:
        told.append(value)
        if len(told) == 2:
            raise KeyboardInterrupt
        write_json(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            train(IMPROVES, folder)
    newest = int(_newest_first(folder / "best")[0].stem)
    assert newest > read_json(folder / "best.json")["steps"]
    assert train(IMPROVES, folder, resume=True).best == whole.best


def test_nothing_is_resumed_from_nothing(tmp_path: Path):
    with pytest.raises(StateError, match="no run to resume"):
        train(SETTINGS, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("settings.json", text) for text in ("[]", "null", "3", '"x"', "[" * 50_000, "{")),
        *(
            ("best.json", text)
            for text in (
                "{}",
                "[]",
                "null",
                '{"total_reward": "x", "steps": 1, "models": []}',
                '{"total_reward": 1, "steps": 1, "models": [{}]}',
                '{"total_reward": 1, "steps": 1, "models": 3}',
                '{"total_reward": 0, "steps": 1, "models": []}',
                *(BEST_OF % numbers for numbers in (("NaN", 1), (1, "1e999"), ("-Infinity", 1))),
                BEST_OF.replace("0.5", "NaN") % (1, 1),
            )
        ),
    ],
)
def test_a_file_of_a_run_with_another_shape_is_one_message(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    line = ["train", "--env", "prune_env/Landscape-v0", "--algo", "epsilon-greedy"]
    line += ["--steps", "20", "--out", str(folder)]
    folder.mkdir()
    if name == "best.json":
        assert main(line) == 0
    (folder / name).write_text(content)
    capsys.readouterr()
    assert main([*line, "--resume"]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert "Remedy" in said


def test_what_is_interrupted_before_it_learns_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty"):
        with monkeypatch.context() as patch:
            patch.setattr(training, "learning_env", interrupted)
            with pytest.raises(KeyboardInterrupt):
                train(SETTINGS, folder)
        assert not folder.exists() or not any(folder.iterdir())
        train(SETTINGS, folder)


@pytest.mark.parametrize("closed", [".", "run"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_cannot_be_written_is_named_itself(
    resume: bool, closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message named a hidden file in it, or a lock beside it, and no remedy."""
    folder = tmp_path / "run"
    folder.mkdir()
    if resume:
        train(SETTINGS, folder)
    opened = tempfile.TemporaryFile

    def refuse(dir: Path) -> object:  # root writes wherever permissions say no
        if Path(dir) == (tmp_path / closed).resolve():
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(SettingsError, match=r"only file system.*another --out") as caught:
        train(SETTINGS, folder, resume=resume)
    assert str(caught.value).startswith(f"The output folder {folder} cannot be written. Expected")
    if not resume:
        with pytest.raises(SettingsError, match=f"The output folder {folder} cannot be written"):
            train_trials(make_trials(SETTINGS, (0, 1), {}), folder)


def test_changed_settings_are_refused_with_the_difference(tmp_path: Path):
    train(SETTINGS, tmp_path / "run")
    with pytest.raises(StateError, match=r"Expected: seed=0\. Actual: seed=1"):
        train(replace(SETTINGS, seed=1), tmp_path / "run", resume=True)


def test_settings_are_equal_if_their_files_are(tmp_path: Path):
    arguments = {**SETTINGS.env_arguments, "metrics": ("magnitude", "gate_gradient")}
    settings = replace(SETTINGS, env_arguments=arguments)
    steps = train(settings, tmp_path / "run").agent.record.steps
    assert train(settings, tmp_path / "run", resume=True).agent.record.steps == steps


@pytest.mark.parametrize("tau", [np.float32(0.8), float("nan")])
def test_settings_that_no_file_holds_are_refused(tau: float, tmp_path: Path):
    settings = replace(SETTINGS, env_arguments={**SETTINGS.env_arguments, "tau": tau})
    with pytest.raises(SettingsError, match="plain values"):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_algorithm_only(tmp_path: Path):
    train(SETTINGS, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "agent")
    shutil.copytree(SHIPPED["heads"] / "ppo", tmp_path / "run" / "agent")
    with pytest.raises(StateError, match=r"Expected: epsilon-greedy\. Actual: ppo"):
        train(SETTINGS, tmp_path / "run", resume=True)


def test_two_processes_do_not_share_a_folder(tmp_path: Path):
    with locked(tmp_path / "run"), pytest.raises(StateError, match="Another process"):
        train(SETTINGS, tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [{"seed": "1"}, {"seed": -1}, {"seed": 2**32}, {"total_steps": 10.5}, {"patience": True}],
)
def test_numbers_of_another_kind_are_refused(wrong):
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} is out of range"):
        TrainSettings(algorithm="epsilon-greedy", **wrong)


def test_numbers_of_numpy_become_plain():
    settings = TrainSettings(algorithm="dqn", total_steps=np.int64(20), seed=np.int32(3))
    assert (type(settings.total_steps), type(settings.seed)) == (int, int)


@pytest.mark.parametrize("settings", [SETTINGS, PPO], ids=["epsilon-greedy", "ppo"])
def test_a_run_goes_on_with_its_own_models_only(settings: TrainSettings, tmp_path: Path):
    """A surrogate under the same name is another model; what was learned must not be mixed."""
    for seed in (1, 2):
        evaluator = LandscapeEvaluator(3, 4, seed=seed)
        subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS, "landscape")
        table = Recording(subject, ("sparsity",)).run(tmp_path / f"{seed}.npz", 40)
        fit_surrogate(table, tmp_path / f"{seed}-surrogate.npz")
    model, run = tmp_path / "model.npz", tmp_path / "run"
    arguments = {"model": str(model), "max_drop": 0.2, "tau": None}
    settings = replace(settings, env="prune_env/Recorded-v0", env_arguments=arguments)
    shutil.copy(tmp_path / "1-surrogate.npz", model)
    train(settings, run)
    shutil.copy(tmp_path / "2-surrogate.npz", model)
    with pytest.raises(
        StateError, match=r"begun with other models or clean data\. Expected: model"
    ):
        train(settings, run, resume=True)
    shutil.copy(tmp_path / "1-surrogate.npz", model)
    train(settings, run, resume=True)


def test_a_run_goes_on_with_its_own_training_data_only(tiny_folder, tiny_data, tmp_path: Path):
    """Importance and rewards read it, and the fingerprint of an evaluator does not cover it."""
    loaded = load_classifier(tiny_folder)
    clean = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data)

    def pool(train_data: TextDataset) -> Pool:
        suspect = Suspect(loaded, train_data, tiny_data, clean)
        return Pool([Subject(clean, np.zeros((2, 4, 1)), ("magnitude",), suspect=suspect)])

    reward = make_reward("sparsity")
    held = identities(pool(tiny_data), reward, EpsilonGreedy)
    check_same_models(held, identities(pool(tiny_data), reward, EpsilonGreedy), tmp_path)
    check_same_models(None, held, tmp_path)  # a checkpoint of an earlier release
    with pytest.raises(StateError, match="other models or clean data"):
        check_same_models(
            held, identities(pool(tiny_data.where(0)), reward, EpsilonGreedy), tmp_path
        )
    with pytest.raises(StateError, match="other models or clean data"):
        check_same_models([], held, tmp_path)


def test_a_run_goes_on_with_the_code_of_its_reward_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """That of others changes under a name that stays; what was best would be compared with it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from prune_env.env.rewards.reward import Sparsity\nclass Paid(Sparsity): name = 'paid'"
    for module, more in (("paid_before", ""), ("paid_after", "; new = 1")):
        (tmp_path / f"{module}.py").write_text(text + more)

    def go_on(module: str, *, resume: bool = True) -> None:
        monkeypatch.setitem(REWARDS._entries, "paid", Entry("paid", "", f"{module}:Paid"))
        train(settings, tmp_path / "run", resume=resume)

    settings = replace(SETTINGS, env_arguments={**SETTINGS.env_arguments, "reward": "paid"})
    go_on("paid_before", resume=False)
    go_on("paid_before")
    with pytest.raises(
        StateError, match=r"begun with another reward\. Expected: code of the reward: \{'paid': "
    ):
        go_on("paid_after")
    held = {"landscape": {"model": "a"}}  # of an earlier release, which did not ask
    check_same_models(held, {**held, CODE: {"paid": "b"}}, tmp_path)


def test_a_run_goes_on_with_the_code_of_its_algorithm_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What one way of learning left would be taken on by another of the same name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (
        "from prune_env.agents.epsilon_greedy import EpsilonGreedy\n"
        "class Own(EpsilonGreedy): algorithm = 'own'"
    )
    for module, more in (("own_before", ""), ("own_after", "; new = 1")):
        (tmp_path / f"{module}.py").write_text(text + more)

    def go_on(module: str, *, resume: bool = True) -> None:
        monkeypatch.setitem(POLICIES._entries, "own", Entry("own", "", f"{module}:Own"))
        train(replace(SETTINGS, algorithm="own"), tmp_path / "run", resume=resume)

    go_on("own_before", resume=False)
    go_on("own_before")
    with pytest.raises(StateError, match="begun with another algorithm"):
        go_on("own_after")
