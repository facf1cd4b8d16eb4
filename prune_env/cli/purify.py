"""`prune-env purify`: the main job."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from prune_env.cli.options import MachineOptions, TableOptions, facts, show
from prune_env.cli.watch.origin import Origin
from prune_env.cli.watch.serve import beside
from prune_env.errors import SettingsError
from prune_env.settings import (
    Export,
    FineTuneSettings,
    Healing,
    LoadingSettings,
    Protocol,
    Pruned,
    SearchSettings,
)

EPOCHS = (
    "Passes over the data; 0 makes it three, or fewer where a refit follows and texts are many "
    "(about 6,000 in all): what is learned by heart, healing cannot give back."
)


@dataclass(frozen=True)
class FineTuneOptions(FineTuneSettings):  # noqa: D101 - it is that of the settings
    __doc__ = FineTuneSettings.__doc__
    epochs: Annotated[int, tyro.conf.arg(help=EPOCHS)] = 0

    def __post_init__(self) -> None:
        """Check the ranges, see `FineTuneSettings`."""
        self.settings(usual=1)

    def settings(self, usual: int) -> FineTuneSettings:
        """Return the settings, with the usual number of epochs if none was asked for."""
        return FineTuneSettings(**{**asdict(self), "epochs": self.epochs or usual})


@dataclass(frozen=True)
class Purify:
    """Remove a backdoor from MODEL with clean data only.

    MODEL is a folder with an encoder (a head is trained for it) or with a ready classifier (its
    own head is kept). A policy may prune attention heads while the accuracy on clean validation
    data holds, and a healing may follow. OUT then holds a model that
    `AutoModelForSequenceClassification.from_pretrained(OUT)` loads, its card `README.md`,
    `mask.json`, `report.json` and the TensorBoard events.

    Attributes:
        model: Folder of the suspicious model, or a name from `prune-env list`.
        data: Clean labelled sentences: a .tsv, .csv or .jsonl file, a folder with train,
            validation and test files, or a name from `prune-env list`.
        out: Output folder; must be new or empty.
        validation: Clean sentences on which masks are judged; default: the validation file of
            `data`, or a share of it.
        validation_share: That share, when no validation set is given.
        policy: Who chooses the heads: a name, see `prune-env list`; or what `prune-env train`
            learned, `runs/NAME/best`, which then plays without learning more. `auto` is what was
            measured best: `ft`, which prunes none, where `refit` or `unlearn` follows; else
            under `direct`, for texts, `reward-greedy` with the reward
            `inverted-trigger`; else `gradient`.
        mask: A file with a mask to apply as it is, without any search: the `mask.json` of an
            earlier run, or a published `{"layer": [pruned heads]}`.
        protocol: `direct`: the fine-tuned model keeps the mask. `refinetune`: the mask is put on
            the suspicious encoder, which is fine-tuned again (the paper's protocol).
        healing: What is done once the mask is on, under `direct`: nothing; one epoch of the
            classification head (`head`) or of everything at a fifth of the learning rate
            (`full`); `refit`: every layer is fitted anew to its own answers on clean data, with
            the smallest weights that do, and fine-tuned, twice; `unlearn`: triggers are
            inverted, and the model is trained on texts that hold them; or `refit-unlearn`, both.
            `auto` is `refit-unlearn` (of images `refit`) where neither a policy nor a mask was
            asked for, under `direct`, and else `none`.
        head: `auto` keeps the classification head of MODEL and trains one for an encoder; `keep`
            insists on one; `new` trains another, for other classes than those of MODEL.
        export: `zeroed`: the pruned heads are zero, and everything loads the model. `sliced`:
            they are cut out, which is smaller and faster; `prune_env.load_pruned` loads it.
        onnx: Write `model.onnx` too, checked with onnxruntime; not of an ensemble; needs
            `prune-env[onnx]`.
        push_to_hub: Upload OUT, but for the events, to this new private repository of the Hugging
            Face Hub, such as `me/purified`; you must be logged in.
        seed: Of everything random.
        units: What a mask chooses from: attention heads; or `hybrid`, also groups of feed-forward
            neurons, and linear maps that are refitted with a strength, see docs/hybrid.md.
        json: Print the report as JSON.
        machine: What of the machine it may use.
        watch: Show the run on a page of this machine while it goes on, see `prune-env watch`.
        tables: How tables are read.
        search: The search for the mask.
        fine_tune: The fine-tuning on clean data.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    data: str
    out: Path
    validation: str | None = None
    validation_share: float = 0.2
    policy: str = "auto"
    mask: Path | None = None
    protocol: Protocol = "direct"
    healing: Healing | Literal["auto"] = "auto"
    head: Literal["auto", "keep", "new"] = "auto"
    export: Export = "zeroed"
    onnx: bool = False
    push_to_hub: str | None = None
    seed: int = 0
    units: Pruned = "heads"
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)
    watch: bool = False
    tables: TableOptions = field(default_factory=TableOptions)
    search: SearchSettings = field(default_factory=SearchSettings)
    fine_tune: FineTuneOptions = field(default_factory=FineTuneOptions)

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.tables.allow_download or self.push_to_hub is not None

    def run(self) -> None:
        """Purify the model and print what was done."""
        from prune_env.models.catalog import push_folder
        from prune_env.purification import Plan, carry_out, choose
        from prune_env.purification.plan import usual_fine_tuning

        self._check()
        train, validation = self.tables.load_clean(
            self.data, self.validation, self.validation_share, self.seed
        )
        chosen = choose(
            self.policy,
            self.healing,
            self.protocol,
            train,
            self.search,
            masked=self.mask is not None,
            units=self.units,
        )
        plan = Plan(
            self.model,
            train,
            validation,
            chosen,
            mask=self.mask,
            protocol=self.protocol,
            export=self.export,
            onnx=self.onnx,
            fine_tune=self.fine_tune.settings(usual_fine_tuning(chosen.healing, train).epochs),
            seed=self.seed,
            loading=LoadingSettings(head=self.head, allow_download=self.tables.allow_download),
            units=self.units,
        )
        with beside(self.out, self.watch, self._origin()):
            report = carry_out(plan, self.out)
        if self.push_to_hub is not None:
            report["pushed_to"] = push_folder(self.out, self.push_to_hub)
        show(self.json, report, facts(self._list_facts(report)))

    def _check(self) -> None:
        """Answer what is wrong before minutes of training."""
        from prune_env.env.policy import find_policy
        from prune_env.models.catalog import check_hub
        from prune_env.utils.output import require_outside, try_place

        require_outside(self.out, self.model)
        try_place(self.out)
        if self.push_to_hub is not None:
            check_hub(self.push_to_hub)
        if self.policy != "auto":
            find_policy(self.policy)
            if self.mask is not None:
                raise SettingsError(
                    "A mask is applied as it is: no policy searches one",
                    expected="--mask or --policy",
                    actual=f"--mask {self.mask} and --policy {self.policy}",
                    remedy="leave one of them out",
                )

    def _list_facts(self, report: dict[str, Any]) -> list[tuple[str, str]]:
        """Return what is printed of the report, line by line."""
        result = report["result"]
        return [
            ("policy", f"{report['run']['policy']}, protocol {self.protocol}"),
            ("healing", _describe_healing(report)),
            *_describe_skipped(report),
            ("heads pruned", _describe_pruned(result)),
            *_describe_units(result),
            ("tau", _describe_tau(report)),
            ("validation accuracy", _describe_accuracy(report)),
            ("evaluations", f"{result['evaluations']} masks"),
            ("time", f"{result['seconds']:.0f} s"),
            ("purified model", str(self.out)),
            *([("pushed to", report["pushed_to"])] if self.push_to_hub else []),
        ]

    def _origin(self) -> Origin:
        """Return what the page of `prune-env watch` asks when it is opened later."""
        return Origin(
            self.model,
            self.data,
            self.validation,
            self.validation_share,
            self.seed,
            self.tables,
            max_length=self.fine_tune.max_length,
        )


def _describe_pruned(result: dict[str, Any]) -> str:
    """Return how many heads a mask removes; of an ensemble, the rounded mean."""
    told = f"{result['heads_pruned']} of {result['heads_total']}"
    members = result.get("members")
    return told if members is None else f"{told} in the mean of {members} members"


def _describe_skipped(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many rows could not be read, if any were left out."""
    parts = report["data"].values()
    skipped, read = (sum(part[name] for part in parts) for name in ("rows_skipped", "rows"))
    told = f"{skipped} of {skipped + read}, which could not be read"
    return [("rows skipped", told)] if skipped else []


def _describe_units(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many units beside heads were pruned, if there were any to choose from."""
    pruned = result.get("units_pruned")
    if pruned is None:
        return []
    told = f"{pruned['neurons']} groups of neurons closed, {pruned['map']} steps of strength"
    return [("other units", told)]


GUARDED = {
    "accuracy": "validation accuracy",
    "balanced": "balanced validation accuracy",
    "recall": "validation recall of every class",
}


def _describe_accuracy(report: dict[str, Any]) -> str:
    """Return the accuracy before and after; where tau guards another number, that of rows."""
    result, told = report["result"], report["tau"]
    counted = "" if told["guard"] == "accuracy" else " (by rows; tau counts by classes)"
    return (
        f"{100 * result['validation_accuracy_unpruned']:.1f} % unpruned, "
        f"{100 * result['validation_accuracy_purified']:.1f} % purified{counted}"
    )


def _describe_tau(report: dict[str, Any]) -> str:
    """Return the threshold, whether it is kept, how sure that is, and what healing gave up."""
    result, told, change = report["result"], report["tau"], report["tau"]["change"]
    if change["unpruned"] == 0:
        after = f"{100 * told['value']:.1f} % on {told['rows']} rows now"
        return f"none, for {GUARDED[told['guard']]} counted as 0: nothing was guarded ({after})"
    kept = "kept" if result["keeps_tau"] else "not kept"
    low, high = (f"{100 * end:.1f}" for end in told["interval"])
    before = 100 * change["unpruned"]
    moved = f"{before:.1f} % unpruned, {change['lost']} rows lost and {change['won']} won"
    sure = "" if told["sure"] else ", which so few rows cannot tell for sure"
    what = "the last step of healing" if told["last_step_alone"] else "healing"
    milder = "" if told["force"] == 1 else f"; {what} at {told['force']:g} of its force"
    return (
        f"{100 * result['tau']:.1f} % {GUARDED[told['guard']]}, {kept}: "
        f"{100 * told['value']:.1f} % [{low}, {high}] on {told['rows']} rows ({moved})"
        f"{sure}{milder}"
    )


def _describe_healing(report: dict[str, Any]) -> str:
    """Return what healed the model, what the refit left, and what unlearning found and left."""
    told = []
    if report["refits"]:
        replaced = report["refits"][0]["strangers"]
        if replaced:
            told.append(f"{replaced:,} unseen tokens replaced by their neighbours")
        kept = " and ".join(f"{100 * each['kept']:.0f} %" for each in report["refits"])
        told.append(f"{kept} of the squared weights kept")
    if report["inverted_triggers"]:
        found, left = report["inverted_triggers"][0], report["inverted_triggers"][-1]
        name = max(found, key=lambda label: float(found[label]["flipped"]))
        flipped = 100 * found[name]["flipped"]
        shown = found[name]["words"] or found[name]["triggers"]
        # Those that are made of the user's own words are not quoted.
        words = ", ".join(f"'{each}'" for each in shown[:3]) or "phrases of frequent words"
        after = f"{100 * left[name]['flipped']:.0f} %"
        told.append(
            f"{words} flipped {flipped:.0f} % to {name}, afterwards {after}"
            if flipped
            else "no trigger was found that flips an answer"
        )
    healing = str(report["run"]["healing"])
    return f"{healing}: {'; '.join(told)}" if told else healing
