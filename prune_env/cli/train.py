"""`prune-env train`: an agent learns to prune, in a folder that it can be resumed from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from prune_env.cli.hyperparameters import one_each, several_each
from prune_env.cli.options import MachineOptions, TableOptions, facts, show
from prune_env.cli.watch.origin import Origin
from prune_env.cli.watch.serve import beside
from prune_env.data.loading import has_parts
from prune_env.data.table_format import TableFormat
from prune_env.errors import SettingsError
from prune_env.settings import Guard
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from prune_env.agents.train_settings import TrainSettings
    from prune_env.agents.training import TrainedAgent
    from prune_env.agents.trials import TrialResult


@dataclass(frozen=True)
class EnvOptions:
    """What the environment plays; whatever is left out is as the environment's id has it.

    Attributes:
        model: Folder of a ready classifier, or a ready-made name, see `prune-env list`.
        data: Clean labelled sentences: a file, a folder or a name.
        pool: Several models in place of one; each episode plays one of them, drawn at random.
        metrics: Importance metrics that the agent sees.
        reward: What is paid: a name, or a sum such as "sparsity + 0.5 * accuracy".
        tau: Validation accuracy (0 to 1) to keep.
        max_drop: In place of tau: accuracy that may be lost against the unpruned model.
        prune_step: Heads pruned between two looks at the accuracy.
        min_heads_per_layer: Heads that every layer keeps.
        guard: What tau is compared with, see `prune-env purify --help`.
    """

    model: str | None = None
    data: str | None = None
    pool: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    reward: str | None = None
    tau: float | None = None
    max_drop: float | None = None
    prune_step: int | None = None
    min_heads_per_layer: int | None = None
    guard: Guard | None = None

    def arguments(self, tables: TableFormat) -> dict[str, Any]:
        """Return the arguments of `gym.make`, those alone that were given.

        Args:
            tables: How those of `data` are read.

        Raises:
            SettingsError: Two of them exclude each other, or no data is read.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        for one, other in (("tau", "max_drop"), ("model", "pool")):
            if one in given and other in given:
                raise SettingsError(f"Give {one} or {other}, not both")
        if self.data is not None:
            given["data"] = tables.named(self.data)
        elif tables != TableFormat():
            raise SettingsError(
                "No table is read, but it is said how",
                expected="--data beside options of tables",
                actual="no --data",
            )
        if "pool" in given:
            given["model"] = None
        if "max_drop" in given:
            given["tau"] = None
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
        }


@dataclass(frozen=True)
class Train:
    """Let an agent learn to prune.

    OUT then holds `agent/` (checkpoints), `best/` (the agent as it was when it did best without
    exploration; use it with `prune-env purify MODEL --policy OUT/best`), `best.json` (what that
    reached, judged on all validation sentences), `best_met.json` (the mask of the best episode of
    the learning; use it with `prune-env purify MODEL --mask OUT/best_met.json`), `settings.json`,
    `report.json`, which recommends one of the two, and TensorBoard events: `tensorboard --logdir
    runs`. Ctrl-C saves the agent first. A run that was interrupted or killed goes on with the same
    command and `--resume`, to the same end.

    Attributes:
        out: Output folder; must be new or empty, but for `--resume`.
        algo: `epsilon-greedy`, `dqn`, `ppo`, `a2c` or `maskable_ppo`.
        env: Id of the environment; see `prune-env list`.
        steps: Environment steps at least: what an algorithm collects at once is learned whole.
        max_evaluations: Masks that may be evaluated for learning, whatever steps are left; the step
            in which they run out is finished.
        validation_subset: Judge masks on so many validation sentences while it learns, a fixed and
            stratified part: cheaper. What is handed out is always judged on all of them.
        num_envs: Episodes played together, whose masks are evaluated together; default: as tuned.
        set: Other hyperparameters, such as `learning_rate=0.001 gamma=0.99`.
        seed: Of everything random.
        save_every: Steps between two checkpoints at most; there is also one every minute.
        test_every: Episodes between two tests without exploration.
        patience: Episodes without a better one after which it ends; default: never. With --pool the
            tests without exploration decide, over all models.
        seeds: Several agents in place of that of `--seed`, each in OUT/seed-N.
        sweep: Hyperparameters of which every combination is trained, such as
            `learning_rate=0.001,0.01 gamma=0.99,1.0`, each in a folder of OUT; `trials.json` then
            tells what each reached. Exit status 1: one of them failed.
        ray: Train the agents of `--seeds` and `--sweep` side by side on a Ray cluster (extra
            `cluster`): its address, or `local`. Files that options name must be readable there.
        cpus: Cores of each agent on the cluster.
        gpus: GPUs of each agent on the cluster.
        resume: Go on with the run in OUT; every other option must be as before.
        json: Print the report as JSON.
        machine: What of the machine it may use.
        watch: Show the run on a page of this machine while it goes on, see `prune-env watch`.
        environment: What it plays.
        tables: How tables are read.
    """

    out: Path
    algo: str = "maskable_ppo"
    env: str = "prune_env/MiniLM-v0"
    steps: int = 20_000
    max_evaluations: int | None = None
    validation_subset: int | None = None
    num_envs: int | None = None
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    seed: int = 0
    save_every: int = 5_000
    test_every: int = 50
    patience: int | None = None
    seeds: tuple[int, ...] = ()
    sweep: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE ...")] = ()
    ray: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    resume: bool = False
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    watch: bool = False
    environment: EnvOptions = field(default_factory=EnvOptions)
    tables: TableFormat = field(default_factory=TableFormat)

    def run(self) -> int:
        """Train; return 0, 1 if one of several failed, or 128 + the signal that ended it early."""
        from prune_env.agents.run_folder import check_new
        from prune_env.agents.train_settings import TrainSettings
        from prune_env.agents.training import train

        if not self.resume:
            check_new(self.out)
        settings = TrainSettings(
            algorithm=self.algo,
            env=self.env,
            env_arguments=self.environment.arguments(self.tables),
            total_steps=self.steps,
            max_evaluations=self.max_evaluations,
            validation_subset=self.validation_subset,
            seed=self.seed,
            hyperparameters=self._hyperparameters(),
            save_every=self.save_every,
            test_every=self.test_every,
            patience=self.patience,
        )
        if self.seeds or self.sweep or self.ray:
            if self.watch:
                raise SettingsError(
                    "--watch shows one training, not those of --seeds, --sweep or --ray",
                    remedy="leave it out, and see one of them, or two, with: "
                    f"prune-env watch {self.out}/NAME",
                )
            return self._train_trials(settings)
        with beside(self.out, self.watch, self._origin()):
            result = train(settings, self.out, resume=self.resume)
        show(self.json, result.report, facts(self._facts(result)))
        return 0 if result.signal is None else 128 + result.signal

    def begun(self) -> bool:
        """Whether one training, or several, stand in OUT, so that `--resume` goes on with them."""
        # Not by what writes these files: a signal may have come while that was imported.
        return any(any(self.out.glob(each)) for each in ("settings.json", "*/settings.json"))

    def _train_trials(self, settings: "TrainSettings") -> int:
        """Train several agents; return 0, 1 if one failed, or 128 + a signal that ended them."""
        from rich.markup import escape

        from prune_env.agents.side_by_side import SideBySide, train_trials
        from prune_env.agents.trials import make_trials
        from prune_env.utils.cluster import Resources
        from prune_env.utils.events import origin
        from prune_env.utils.progress import tell

        trials = make_trials(settings, self.seeds or (self.seed,), several_each(self.sweep))
        tell(escape(f"{count_of(len(trials), 'trial')}, results in {self.out}"))
        with origin(self._origin().to_json()):
            results = train_trials(
                trials,
                self.out,
                resume=self.resume,
                cluster=SideBySide(self.ray, Resources(self.cpus, self.gpus)) if self.ray else None,
                on_result=lambda result: tell(escape(_told(result))),
            )
        best = max(results, key=lambda each: each.rank)
        rows = [(result.name, _told(result).partition(": ")[2]) for result in results]
        if best.recommended is not None:
            command = self._use(self.out / best.name, best.recommended, hybrid=best.hybrid)
            rows.append(("use the best", command))
        signal = next((each.signal for each in results if each.signal is not None), None)
        if signal is not None:
            rows.append(("interrupted", "what began is saved; the same command with --resume"))
        show(self.json, [asdict(result) for result in results], facts(rows))
        if signal is not None:
            return 128 + signal
        return int(any(result.status == "failed" for result in results))

    def _origin(self) -> Origin:
        played = self.environment
        model = played.model or next(iter(played.pool or ()), None)
        return Origin(model, played.data, tables=TableOptions(**vars(self.tables)), env=self.env)

    def _hyperparameters(self) -> dict[str, Any]:
        changes = one_each(self.set)
        if self.num_envs is not None:
            changes["num_envs"] = self.num_envs
        return changes

    def _facts(self, result: "TrainedAgent") -> list[tuple[str, str]]:
        report = result.report
        steps = count_of(report["steps"], "step")
        rows = [
            ("learned", f"{steps}, {count_of(report['episodes'], 'episode')}"),
            ("evaluated", f"{count_of(report['evaluations'], 'mask')} on {report['learned_on']}"),
        ]
        played = (result.best or {}).get("models", [])
        judged = f"accuracy on {report['judged_on']}"
        for each in played:
            reached = f"{_pruned(each)}, {100 * each['accuracy']:.1f} % {judged}"
            rows.append((f"best on {each['model']}", reached))
        if (met := report["best_met"]) is not None:
            below = "" if met["keeps_tau"] else ", below tau"
            reached = f"{_pruned(met)}, {100 * met['accuracy']:.1f} % {judged}{below}"
            rows.append((f"best episode on {met['model']}", reached))
        if result.signal is None and "oracle" in report:
            rows.append(("use it", "to compare with: its reward reads the trigger, so no defence"))
        elif result.signal is None:
            hybrid = any("units_pruned" in each for each in (*played, met or {}))
            rows.append(("use it", self._use(self.out, report["recommended"], hybrid=hybrid)))
        else:
            rows.append(("interrupted", "the agent is saved; the same command with --resume"))
        return [*rows, ("watch it", f"tensorboard --logdir {self.out}")]

    def _use(self, folder: Path, recommended: str | None, *, hybrid: bool) -> str:
        """Return the command that uses what a training recommends."""
        from prune_env.agents.recommended import BEST_MET

        best_met = recommended == "best_met"
        option = f"--mask {folder}/{BEST_MET}" if best_met else f"--policy {folder}/best"
        units = " --units hybrid" if hybrid else ""
        read = self.environment.data
        if hybrid and best_met and read is not None and not has_parts(read):
            # Units are cut from all rows of a single table, of which purify would hold back some.
            option = f"--validation DATA {option}"
        return f"prune-env purify MODEL --data DATA {option}{units}"


def _pruned(played: Mapping[str, Any]) -> str:
    """Return how many heads a mask prunes, and other units where there are some."""
    told = count_of(played["heads_pruned"], "head")
    if units := played.get("units_pruned"):
        groups, steps = count_of(units["neurons"], "group"), count_of(units["map"], "step")
        told += f", {groups} of neurons and {steps} of strength"
    return f"{told} pruned"


def _told(result: "TrialResult") -> str:
    """Return in a line what became of a trial."""
    where = f" on {result.node}" if result.node else ""
    if result.status == "done" and result.heads_pruned is not None:
        return (
            f"{result.name}: {count_of(result.heads_pruned, 'head')} pruned, "
            f"{100 * (result.accuracy or 0):.1f} % accuracy, reward {result.reward or 0:.3g}{where}"
        )
    return f"{result.name}: {result.status}{where} {result.error}".rstrip()
