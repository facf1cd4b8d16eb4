"""`prune-env purify`: the main job."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from prune_env.cli.options import MachineOptions, TableOptions, facts, show
from prune_env.cli.purify_facts import list_facts
from prune_env.cli.watch.origin import Origin
from prune_env.cli.watch.serve import beside
from prune_env.data.unlabelled import Unlabelled, read_unlabelled
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
        unlabelled: Texts like those of `data` that nobody has labelled: a .txt file, one a line, or
            a table, of which the column of texts is read. A refit also trains on those that a
            linear model of the clean data is sure of, which may take more of a backdoor. Needs
            `prune-env[unlabelled]`.
        policy: Who chooses the heads: a name, see `prune-env list`; or what `prune-env train`
            learned, `runs/NAME/best`, which then plays without learning more (one that learned from
            the trigger is no defence, and told so). `auto` is what was
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
            inverted (phrases and words; patches on images), and the model is trained on data
            that holds them; or `refit-unlearn`, both. `auto` is `refit-unlearn` where neither a
            policy nor a mask was asked for, under `direct`, and else `none`.
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
    unlabelled: Path | None = None
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
            mask=self.mask,
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
            unlabelled=self._read_unlabelled(),
        )
        with beside(self.out, self.watch, self._origin()):
            report = carry_out(plan, self.out)
        if self.push_to_hub is not None:
            report["pushed_to"] = push_folder(self.out, self.push_to_hub)
        show(self.json, report, facts(list_facts(report, self.out)))

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

    def _read_unlabelled(self) -> "Unlabelled | None":
        """Return the texts without labels, if there are any."""
        if self.unlabelled is None:
            return None
        return read_unlabelled(
            self.unlabelled,
            text_column=self.tables.text_column,
            pair_column=self.tables.pair_column,
            on_bad_row=self.tables.on_bad_row,
        )

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
