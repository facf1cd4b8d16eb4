"""Files as today's code writes them, and what reading them gives."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym

import prune_env
from prune_env.agents import load_agent
from tests.goldens.files import DATA, inside
from tests.goldens.names import output
from tests.goldens.play import Case, choose, plain
from tests.goldens.runs import FAST, files_of, load, logits, masked, prepare, purified, trained

FORMATS = DATA / "formats"
MODELS = {"sliced": "sliced", "random-ensemble": "ensemble"}
AGENTS = ("epsilon-greedy/best", "epsilon-greedy/agent", "ppo/best", "ppo/agent")
GAMES = {
    "as trained": {"model": "landscape:layers=2,heads=4", "tau": 0.8},
    "larger": {"model": "landscape:layers=4,heads=6,seed=3", "tau": 0.7},
}


def write(folder: Path) -> None:
    """Write every format anew; `folder` is a place to work in."""
    shutil.rmtree(FORMATS, ignore_errors=True)
    FORMATS.mkdir(parents=True)
    for name, title in MODELS.items():
        work = prepare(_new(folder / name))
        purified(work, name)
        _copy(work / "out", FORMATS / title)
    for name in ("epsilon-greedy", "ppo"):
        trained(folder, name)
        _copy(folder / name, FORMATS / name)
        for part in ("agent", "best"):
            newest = max(path.stem for path in (FORMATS / name / part).iterdir())
            for path in (FORMATS / name / part).iterdir():
                if path.stem != newest:
                    path.unlink()
    states = [_state(kwargs, seed) for kwargs in GAMES.values() for seed in (0, 1)]
    for end in ("json", "csv"):
        prune_env.write_states(FORMATS / f"states.{end}", states)


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("tensorboard", "*tfevents*"))


def _state(kwargs: dict[str, Any], seed: int) -> prune_env.State:
    env = gym.make("prune_env/Landscape-v0", **kwargs)
    _, info = env.reset(seed=seed)
    draw, ended = choose(Case(seed=seed, illegal=0)), False
    while not ended:
        _, _, terminated, truncated, info = env.step(draw(info))
        ended = terminated or truncated
    state: prune_env.State = env.unwrapped.state  # type: ignore[attr-defined]
    return state


def models() -> dict[str, Any]:
    """Return what the stored models answer, and how they evaluate."""
    found = {}
    for title in MODELS.values():
        found[title] = {"files": files_of(FORMATS / title), "logits": logits(load(FORMATS / title))}
    return found


def agents() -> dict[str, Any]:
    """Return how the stored agents play: actions, and the mask that they leave."""
    found = {}
    for place in AGENTS:
        agent = load_agent(FORMATS / place)
        for title, kwargs in GAMES.items():
            env = gym.make("prune_env/Landscape-v0", **kwargs)
            observation, info = env.reset(seed=0)
            actions, ended = [], False
            while not ended:
                legal = info["action_mask"].astype(bool)
                action, _ = agent.predict(observation, deterministic=True, action_masks=legal)
                observation, _, terminated, truncated, info = env.step(int(action))
                actions.append(int(action))
                ended = terminated or truncated
            found[f"{place}, {title}"] = {"actions": actions, "mask": plain(info["mask"])}
    return found


def played_by(folder: Path, name: str) -> dict[str, Any]:
    """Return what `purify --policy` finds with a stored agent, in a prepared folder."""
    _copy(FORMATS / name, folder / "run")
    options = ["--policy", "run/best", "--healing", "none", "--out", "out"]
    with inside(folder):
        status, _ = output("purify", "suspect", "--data", "clean.jsonl", *FAST, *options)
        report = json.loads(Path("out/report.json").read_text())
        mask = json.loads(Path("out/mask.json").read_text())
    return {
        "status": status,
        "run": report["run"],
        "result": masked(report["result"]),
        "mask": mask,
    }


def resumed(folder: Path, name: str) -> dict[str, Any]:
    """Go on with a stored run that has reached its end, and return what it says."""
    _copy(FORMATS / name, folder / name)
    return trained(folder, name, "--resume")


def states() -> list[dict[str, Any]]:
    """Return the stored states, as read from JSON."""
    return [state.to_dict() for state in prune_env.read_states(FORMATS / "states.json")]
