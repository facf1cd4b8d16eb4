"""Scores: normalised by hand-computed numbers, from masks alone, within the budget."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from prune_env.agents import load_agent
from prune_env.agents.epsilon_greedy import EpsilonGreedy
from prune_env.cli import main
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.policy import POLICIES
from prune_env.env.recorded import read_surrogate
from prune_env.env.subject import Subject
from prune_env.env.subjects import RECORDS, SUBJECTS, register_records
from prune_env.errors import MetricError, SettingsError, StateError, UnknownNameError
from prune_env.importance import DEFAULT_METRICS
from prune_env.importance.registry import UNIT_METRICS
from prune_env.models.masks import pruned_heads
from prune_env.purification.search import search
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.recording import Recording
from prune_env.research.score import game as games
from prune_env.research.score.entrant import PolicyEntrant, find_entrant
from prune_env.research.score.game import PRECISION, TaskGame
from prune_env.research.score.masks_file import FORMAT, NAME, FinalMask, MasksFile
from prune_env.research.score.reference import EndPoints, find_reference
from prune_env.research.score.scoring import SCORE, ScoreReport, score
from prune_env.research.score.statistics import estimate, interquartile_means
from prune_env.research.score.suite import ScoredTask, Suite, read_suite
from prune_env.utils.files import cache_folder
from prune_env.utils.registry import Entry

TASK = ScoredTask(
    name="small",
    tier="landscape",
    env="prune_env/Landscape-v0",
    model="landscape:layers=3,heads=4,seed=77",
    reward="sparsity",
    budget=12,
    tau=0.85,
)
SUITE = Suite("test", (0, 1), (TASK,))
V3 = "76d439656031b465b2098dea899ab0f4b2bbdc53458aa828acb7e98d814e8e1a"
V2 = "044f120bae152e68dfbe97d6e1a1e010d80e248363fe4828a522492da714841c"
V1 = "42ab51521b83d12980c2c5f664b0d5176238e08e0a5bd443cbeecb590db6b676"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))


def submission(folder: Path, pruned: dict[str, list[int]], **more: Any) -> Path:
    """Write masks that prune the same heads with each seed."""
    masks = {"small": {str(seed): {"pruned": pruned} for seed in SUITE.seeds}}
    content = {"format": FORMAT, "version": 1, "suite": "test", "masks": masks, **more}
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(content))
    return folder


def score_of(entrant: str | Path, out: Path | None = None) -> ScoreReport:
    return score(find_entrant(str(entrant), SUITE), SUITE, ["landscape"], out)


def test_a_score_by_hand() -> None:
    ends = EndPoints(random=0.2, oracle=0.6)
    assert ends.score(0.2) == 0
    assert ends.score(0.6) == pytest.approx(1)
    assert ends.score(0.5) == pytest.approx(0.75)
    assert ends.score(0.1) == pytest.approx(-0.25)
    with pytest.raises(MetricError, match="no better than random"):
        EndPoints(0.5, 0.5).score(0.5)


def test_interquartile_mean_and_interval_of_known_cases() -> None:
    assert interquartile_means(np.array([[9.0, 1, 2, 3, 4, 5, 6, -90]]))[0] == 3.5
    same = estimate([[2.0, 2.0, 2.0], [2.0, 2.0]])
    assert (same.mean, same.low, same.high) == (2, 2, 2)
    # Strata: each task is constant, so nothing is uncertain, though the tasks differ.
    apart = estimate([[0.0] * 4, [1.0] * 4])
    assert (apart.mean, apart.low, apart.high) == (0.5, 0.5, 0.5)
    # Of normal runs the interval is near that of a mean: the trimmed one is 1.09 times as wide.
    runs = np.random.default_rng(0).normal(size=400)
    wide = estimate([runs.tolist()])
    assert wide.low < wide.mean < wide.high
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 1.09 / 20, rel=0.15)


def test_a_mask_is_worth_its_reward_and_an_illegal_one_nothing() -> None:
    game = TaskGame(TASK)
    masks = np.ones((3, 3, 4), bool)
    worth = [LandscapeEvaluator(3, 4, 77).accuracy(np.delete(masks, 0, 0)[:1])[0] >= 0.85]
    assert worth == [True]
    masks[0, 0, game.subject.importance[0, :, 1].argmin()] = False
    masks[1, 0] = False  # no head left in a layer
    values = game.values(masks)
    assert values.gained.tolist() == [pytest.approx(1 / 12), 0, 0]
    assert values.legal.tolist() == [True, False, True]
    assert values.spared is None


def test_the_ends_are_random_orders_and_the_best_mask_there_is() -> None:
    game = TaskGame(TASK)
    rows = [[i >> head & 1 for head in range(12)] for i in range(2**12)]
    every = game.values(np.array(rows, bool).reshape(-1, 3, 4))
    ends = find_reference(game).gained
    assert ends.oracle == pytest.approx(every.gained.max())
    assert 0 < ends.random < ends.oracle
    assert find_reference(game).gained == ends  # from the cache


def test_the_search_for_the_ends_goes_on_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plain = TaskGame.values

    def killed(game: TaskGame, masks: Any) -> Any:
        asked.append(len(masks))
        if len(asked) == kill_at:
            raise KeyboardInterrupt
        return plain(game, masks)

    monkeypatch.setattr("prune_env.research.score.reference.SAVE_EVERY", -1.0)
    monkeypatch.setattr(TaskGame, "values", killed)
    kill_at = 9
    with pytest.raises(KeyboardInterrupt):
        find_reference(TaskGame(TASK))
    before = sum(asked[1:8])  # the first call is of the random orders
    kill_at = 0
    ends = find_reference(TaskGame(TASK))
    after = sum(asked[10:])
    asked.clear()
    folder = cache_folder() / "score"
    assert len([*folder.glob("**/*.json")]) == 1  # what was asked is gone
    shutil.rmtree(folder)
    assert find_reference(TaskGame(TASK)) == ends
    assert sum(asked[1:]) == before + after


def test_a_cache_that_cannot_be_written_is_told_before_the_search_and_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = find_reference(TaskGame(TASK))

    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))  # of no file, too

    monkeypatch.setattr(Path, "unlink", read_only)
    assert find_reference(TaskGame(TASK)) == ends
    monkeypatch.setenv("PRUNE_ENV_CACHE", "/proc/cache")
    monkeypatch.setattr(
        "prune_env.research.score.reference._compute", lambda *_: pytest.fail("searched")
    )
    with pytest.raises(SettingsError, match=r"written.*Remedy: set PRUNE_ENV_CACHE"):
        find_reference(TaskGame(TASK))


def test_nobody_asks_for_more_masks_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[bytes] = set()
    plain = LandscapeEvaluator.accuracy, LandscapeEvaluator.evaluate

    def spy(answer: Any) -> Any:
        def told(self: Any, masks: Any) -> Any:
            asked.update(mask.tobytes() for mask in np.asarray(masks, bool))
            return answer(self, masks)

        return told

    game = TaskGame(TASK)
    for name, answer in zip(("accuracy", "evaluate"), plain, strict=True):
        monkeypatch.setattr(LandscapeEvaluator, name, spy(answer))
    for policy in ("random", "greedy", "evolution", "epsilon-greedy"):
        asked.clear()
        found = find_entrant(policy, SUITE).play(game, seed=3)
        assert found.evaluations is not None
        assert found.evaluations <= TASK.budget
        # The judge measures what is handed out once more, which is no answer to the policy.
        assert len(asked - {found.mask.tobytes()}) <= TASK.budget


def test_a_submission_is_scored_from_its_masks_whatever_it_claims(tmp_path: Path) -> None:
    played = score_of("greedy", tmp_path / "greedy")
    told = json.loads((tmp_path / "greedy" / "score.json").read_text())
    assert told == json.loads(json.dumps(played.plain()))
    again = score_of(tmp_path / "greedy")
    assert again.tiers["landscape"].return_score == played.tiers["landscape"].return_score
    assert again.tiers["landscape"].evaluations is None
    lie = json.loads((tmp_path / "greedy" / NAME).read_text())
    lie["tiers"] = {"landscape": {"return_score": {"mean": 9}}}
    lie["score"] = 9
    for run in lie["masks"]["small"].values():
        run |= {"evaluations": 1, "gained": 9, "accuracy": 1.0, "return_score": 9}
    (tmp_path / "greedy" / NAME).write_text(json.dumps(lie))
    (tmp_path / "greedy" / "score.json").write_text(json.dumps({**told, "tiers": {}}))
    assert score_of(tmp_path / "greedy").runs == again.runs


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({"nonsuch-game": {"0": {"pruned": {}}}}, "some of small. Actual: nonsuch-game"),
        ({"small": {"0": {}, "1": {}, "77": {}}}, "some of 0, 1. Actual: 77"),
        ({"small": {"00": {}}}, "some of 0, 1. Actual: 00"),
    ],
)
def test_games_and_seeds_of_no_suite_are_refused(tmp_path: Path, masks: Any, told: str) -> None:
    with pytest.raises(StateError, match=told):
        find_entrant(str(submission(tmp_path, {}, masks=masks)), SUITE)


def test_masks_of_another_model_are_refused(tmp_path: Path) -> None:
    own = TaskGame(TASK).subject.evaluator.fingerprint
    for model in (own, "0" * 64, None):
        runs = {str(seed): {"pruned": {"0": [1]}, "model": model} for seed in SUITE.seeds}
        folder = submission(tmp_path, {}, masks={"small": runs})
        if model == own:
            assert score_of(folder).runs == score_of(submission(tmp_path, {"0": [1]})).runs
        else:
            with pytest.raises(StateError, match="seed 0 was made on another model"):
                score_of(folder)


def test_a_submitted_mask_that_breaks_the_rules_counts_as_no_pruning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = score_of(submission(tmp_path / "broken", {"0": [0, 1, 2, 3]}))
    [said] = caplog.messages
    assert said.startswith("small, seed 0, 1: ")
    assert said.endswith("counts as no pruning")
    none = score_of(submission(tmp_path / "none", {}))
    assert len(caplog.messages) == 1
    assert [run.return_score for run in broken.runs] == [run.return_score for run in none.runs]
    assert [run.legal for run in broken.runs] == [False, False]
    assert all(run.return_score < 0 for run in none.runs)


def test_a_scoring_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []
    plain = search

    def interrupted(*arguments: Any, seed: int = 0, **named: Any) -> Any:
        played.append(seed)
        if len(played) == 2:
            raise KeyboardInterrupt
        return plain(*arguments, seed=seed, **named)

    find_reference(TaskGame(TASK))
    monkeypatch.setattr("prune_env.research.score.entrant.search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_of("random", tmp_path)
    report = score_of("random", tmp_path)
    assert played == [0, 1, 1]
    assert report.runs == score_of("random").runs
    with pytest.raises(StateError, match="somebody else"):
        score_of("greedy", tmp_path)


def test_masks_of_a_policy_that_was_changed_are_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of others changes, and the version of this package does not."""
    monkeypatch.syspath_prepend(str(tmp_path))
    first = "from prune_env.baselines.random_order import RandomOrder as Mine0\n"
    for name, text in (
        ("mine_first", "class Mine(Mine0): pass"),
        ("mine_then", "class Mine(Mine0): 1"),
    ):
        (tmp_path / f"{name}.py").write_text(first + text)

    def play(module: str) -> ScoreReport:
        entry = Entry("mine", "", f"{module}:Mine")
        monkeypatch.setitem(POLICIES._entries, "mine", entry)
        return score_of("mine", tmp_path / "out")

    runs = play("mine_first").runs
    assert play("mine_first").runs == runs  # goes on with its own
    with pytest.raises(StateError, match="somebody else"):
        play("mine_then")
    assert set(find_entrant("random", SUITE).identity) == {"policy", "version"}


def test_a_trained_agent_plays_from_its_folder(tmp_path: Path) -> None:
    env = gym.make("prune_env/Landscape-v0", model="landscape:layers=3,heads=4")
    agent = EpsilonGreedy.for_env(env, seed=0).learn(env, total_steps=40)
    agent.save(tmp_path / "run" / "best", weights_only=True)
    entrant = find_entrant(str(tmp_path / "run"), SUITE)
    assert (entrant.name, entrant.identity["algorithm"]) == ("run", "epsilon-greedy")
    assert load_agent(tmp_path / "run" / "best").metrics == DEFAULT_METRICS
    report = score_of(tmp_path / "run" / "best")
    assert report.name == "run"
    assert len({run.gained for run in report.runs}) == 1  # it learns no more


def test_an_agent_of_hybrid_units_is_refused_before_any_game(tmp_path: Path) -> None:
    """Where the columns that it reads could be shown, the model would have another fingerprint."""
    EpsilonGreedy(UNIT_METRICS, seed=0).save(tmp_path / "run" / "best", weights_only=True)
    with pytest.raises(SettingsError, match=r"learned on hybrid units.*heads alone"):
        find_entrant(str(tmp_path / "run"), SUITE)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no JSON", "not valid JSON"),
        (b'{"a": [' * 2_000, "not valid JSON"),
        (b"[1, 2]", "holds no masks for a score"),
        (b'{"format": "prune-env-submission", "version": 2}', "another version"),
        (b'{"format": "prune-env-submission", "version": 1, "suite": "v0"}', "another suite"),
        (b'{"format": "prune-env-submission", "version": 1, "suite": "test"}', "by game and seed"),
    ],
)
def test_files_of_strangers_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StateError, match=told):
        score_of(tmp_path)


@pytest.mark.parametrize(
    "pruned", [{"3": [0]}, {"0": [4]}, {"0": [-1]}, {"0": [True]}, {"0": "1"}, [[1] * 4] * 3, None]
)
def test_masks_of_another_shape_are_refused(tmp_path: Path, pruned: Any) -> None:
    with pytest.raises((StateError, SettingsError), match="small, seed 0"):
        score_of(submission(tmp_path, pruned))


def test_a_missing_mask_a_huge_file_and_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission(tmp_path, {}, masks={"small": {"0": {"pruned": {}}}})
    with pytest.raises(StateError, match="no mask for small, seed 1"):
        score_of(tmp_path)
    submission(tmp_path, {}, digest="0" * 64)
    with pytest.raises(StateError, match="another suite"):
        score_of(tmp_path)
    monkeypatch.setenv("PRUNE_ENV_MAX_STATE_BYTES", "100")
    with pytest.raises(StateError, match="too large"):
        score_of(submission(tmp_path, {"0": [1, 2]}))


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="v1"):
        read_suite("v7")
    with pytest.raises(UnknownNameError, match="landscape, minilm, recorded, tiny"):
        SUITE.tasks_of(["cloud"])
    with pytest.raises(SettingsError, match="no game of the tier tiny"):
        SUITE.tasks_of(["tiny"])
    with pytest.raises(UnknownNameError, match="gate-gradient"):
        find_entrant("gate-gradiant", SUITE)
    with pytest.raises(StateError, match="No folder"):
        find_entrant("runs/not-there", SUITE)
    for policy in ("random-ensemble", "ft", "gradient-l1-l2"):
        with pytest.raises(SettingsError, match="more than a choice of heads"):
            find_entrant(policy, SUITE)


@pytest.mark.parametrize(("version", "digest"), [("v1", V1), ("v2", V2), ("v3", V3)])
def test_the_suites_are_frozen(version: str, digest: str) -> None:
    """Whoever changes one makes another suite: scores of old ones must stay comparable."""
    suite = read_suite(version)
    assert suite.digest == digest
    assert len({task.name for task in suite.tasks}) == len(suite.tasks)
    assert replace(suite, seeds=(0,)).digest != suite.digest


def test_the_verb_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("prune_env.research.score.suite.read_suite", lambda version: SUITE)
    assert main(["score", "gradient", "--out", str(tmp_path / "out")]) == 0
    assert "landscape" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["digest"]) == ("out", SUITE.digest)
    assert main(["score", "gradient", "--tiers", "cloud"]) == 2


def test_the_verb_warns_of_a_mask_that_counts_as_no_pruning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("prune_env.research.score.suite.read_suite", lambda version: SUITE)
    runs = {"0": {"pruned": {}}, "1": {"pruned": {"0": [0, 1, 2, 3]}}}
    assert main(["score", str(submission(tmp_path, {}, masks={"small": runs})), "--json"]) == 0
    printed = capsys.readouterr()
    json.loads(printed.out)
    assert "small, seed 1: the mask falls below tau" in " ".join(printed.err.split())


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a record that ships: of a landscape whose triggered texts are another's."""
    evaluator, triggered = LandscapeEvaluator(3, 4, seed=1), LandscapeEvaluator(3, 4, seed=2)
    subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS, "landscape")
    table = Recording(subject, ("accuracy",), triggered=triggered).run(tmp_path / "r.npz", 300)
    (tmp_path / "records").mkdir()
    fit_surrogate(table, tmp_path / "records" / "shipped-0.npz")
    monkeypatch.setattr(SUBJECTS, "_entries", dict(SUBJECTS._entries))
    register_records(tmp_path / "records")
    return "shipped-0"


def test_a_record_that_ships_is_played_by_its_name(record: str) -> None:
    env = gym.make("prune_env/Recorded-v0", model=record, reward="accuracy", tau=0.8)
    _, info = env.reset(seed=0)
    assert info["model"] == record
    assert env.unwrapped.validate(env.unwrapped.state).ok
    with pytest.raises(SettingsError, match=record):
        gym.make("prune_env/Recorded-v0", model="shipped-1")


@pytest.mark.parametrize(("version", "records"), [("v1", 1), ("v2", 7), ("v3", 4)])
def test_a_suite_plays_records_as_they_ship(version: str, records: int) -> None:
    """One that was made anew would be refused."""
    tasks = read_suite(version).tasks_of(["recorded"])
    assert len(tasks) == records
    assert all(TaskGame(task).knows_hidden for task in tasks)


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.npz")), ids=lambda path: path.stem)
def test_records_of_the_package_are_small_and_whole(path: Path) -> None:
    assert path.stat().st_size <= 2**20
    env = gym.make("prune_env/Recorded-v0", model=path.stem, reward="oracle", tau=None)
    env.reset(seed=0)
    facts = read_surrogate(path).facts
    few = facts["recorded"] < 700
    assert facts["fidelity"]["lfr_calibrated"] > (0.75 if few else 0.85)  # docs/recorded.md


def test_every_kind_of_policy_plays_a_record_and_its_lfr_is_scored(record: str) -> None:
    task = replace(
        TASK,
        name="recorded",
        tier="recorded",
        env="prune_env/Recorded-v0",
        model=record,
        reward="accuracy",
        tau=None,
        max_drop=0.1,
    )
    with pytest.raises(StateError, match="not the one that the suite was made for"):
        TaskGame(task)
    subject = games.make_env(task.env, {"model": record}).unwrapped.subject
    task = replace(task, record=subject.evaluator.fingerprint)
    suite = Suite("test", (0,), (task,))
    for policy in ("gradient", "greedy", "reward-greedy", "evolution", "epsilon-greedy"):
        report = score(find_entrant(policy, suite), suite, ["recorded"])
        (run,) = report.runs
        assert run.evaluations is not None
        assert run.evaluations <= task.budget
        assert run.lfr is not None
        assert run.hidden_score is not None
    game = TaskGame(task)
    masks = np.ones((2, 3, 4), bool)
    masks[0, 1, 2] = False
    spared = game.values(masks).spared
    np.testing.assert_allclose(spared, 1 - subject.evaluator.column("lfr_calibrated", masks))
    assert pruned_heads(masks[0]) == {"1": [2]}


def test_a_search_of_one_end_pays_for_no_pass_of_the_other() -> None:
    def never() -> Any:
        raise AssertionError("asked")

    masks = np.ones((1, 3, 4), bool)
    values = TaskGame(TASK).values(masks)
    assert replace(values, rates=never).gained.tolist() == [0]
    other = replace(values, rewards=never, rates=lambda: np.array([0.5, 0.25]))
    assert other.spared is not None
    assert other.spared.tolist() == [0.75]
    with pytest.raises(AssertionError, match="asked"):
        other.gained  # noqa: B018 - it is computed when read


def test_a_submission_keeps_its_masks_and_overwrites_nobody(tmp_path: Path) -> None:
    score_of("gradient", tmp_path / "out")
    held = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    mine = submission(tmp_path / "mine", {"0": [1]})
    with pytest.raises(StateError, match="somebody else"):
        score_of(mine, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == held
    report = score_of(mine, tmp_path / "scores")
    assert score_of(tmp_path / "scores").tiers == report.tiers
    assert score_of(mine, tmp_path / "scores").runs == report.runs  # again
    (tmp_path / "elsewhere").mkdir()
    other = submission(tmp_path / "elsewhere" / "mine", {"0": [2]})  # another of the same name
    with pytest.raises(StateError, match="somebody else"):
        score_of(other, tmp_path / "scores")
    (tmp_path / "scores" / NAME).unlink()
    with pytest.raises(StateError, match="a score of somebody else"):
        score_of(other, tmp_path / "scores")


def test_a_second_scoring_is_refused_while_one_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find a free folder, and each would write over the masks of the other."""
    play = PolicyEntrant.play
    tried: list[int] = []

    def meanwhile(self: PolicyEntrant, game: TaskGame, seed: int) -> FinalMask:
        if not tried:
            tried.append(seed)
            with pytest.raises(StateError, match=r"Another process scores into .*masks\.json"):
                score_of("gradient", tmp_path / "out")
        return play(self, game, seed)

    monkeypatch.setattr(PolicyEntrant, "play", meanwhile)
    score_of("random", tmp_path / "out")
    assert tried
    assert {path.name for path in (tmp_path / "out").iterdir()} == {NAME, SCORE}
    with pytest.raises(StateError, match="somebody else"):
        score_of("gradient", tmp_path / "out")


def test_a_submission_is_scored_where_it_stands(tmp_path: Path) -> None:
    mine = submission(tmp_path / "mine", {"0": [1]})
    held = (mine / NAME).read_bytes()
    score_of(mine, mine)
    assert (mine / NAME).read_bytes() == held
    assert (mine / "score.json").exists()


def test_a_file_is_no_folder_for_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("prune_env.research.score.scoring.TaskGame", lambda *_: pytest.fail("work"))
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match="cannot be written"):
            score_of("gradient", out)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_mask_of_another_precision_is_played_anew(tmp_path: Path) -> None:
    game = TaskGame(TASK)
    made = {"model": game.subject.evaluator.fingerprint, "precision": PRECISION}
    for change, own in (({}, True), ({"precision": "bf16"}, False), ({"model": "x"}, False)):
        held = MasksFile(SUITE, tmp_path / NAME, runs={"small": {"0": {**made, **change}}})
        assert held.is_of_game(game, 0) == own


def test_what_is_no_mask_is_played_anew_and_refused_where_it_is_handed_in(tmp_path: Path) -> None:
    held = MasksFile(SUITE, tmp_path / NAME, runs={"small": {"0": ["no", "mask"]}})
    game = TaskGame(TASK)
    assert not held.is_of_game(game, 0)
    with pytest.raises(StateError, match="small, seed 0 is no mask"):
        held.find(game, 0)
