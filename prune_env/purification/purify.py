"""The three steps in a row, and the folder that they leave."""

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

from torch.utils.tensorboard import SummaryWriter

from prune_env.data.dataset import TextDataset
from prune_env.data.unlabelled import Unlabelled
from prune_env.env.subject import Subject
from prune_env.evaluation.guard import guard_of
from prune_env.purification.answers import (
    Answers,
    answer_training_rows,
    check_answers,
    require_a_guard,
)
from prune_env.purification.arguments import check_kinds, check_paths, loading_settings
from prune_env.purification.cautions import (
    warn_below_tau,
    warn_of_contradictions,
    warn_of_few,
    warn_of_triggers_left,
)
from prune_env.purification.export import write_purified
from prune_env.purification.heal import Healed
from prune_env.purification.hybrid import cut, write_mask
from prune_env.purification.milder import chosen, heal_above_tau
from prune_env.purification.patch_picture import draw_patches
from prune_env.purification.plan import AUTO, Plan, best_healing, choose, usual_fine_tuning
from prune_env.purification.prepare import prepare, teach
from prune_env.purification.report import card_facts, make_report
from prune_env.purification.search import read_mask, search
from prune_env.purification.search_result import SearchResult
from prune_env.purification.verdict import Verdict, judge_tau
from prune_env.settings import (
    Export,
    FineTuneSettings,
    Healing,
    LoadingKeywords,
    Protocol,
    Pruned,
    SearchSettings,
    check_seed,
)
from prune_env.utils.events import recording
from prune_env.utils.files import new_folder, write_json
from prune_env.utils.output import require_outside
from prune_env.utils.progress import job
from prune_env.utils.public import public_name
from prune_env.utils.randomness import own_randomness
from prune_env.utils.runtime import auto_means

log = logging.getLogger(__name__)

UNCHANGED = {"changed": "nothing: the weights are those of the source"}
"""What the model card says where no mask and no training did anything."""


def purify(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    out: str | Path,
    *,
    policy: str | Path = AUTO,
    mask: str | Path | None = None,
    protocol: Protocol = "direct",
    healing: Healing | Literal["auto"] = "auto",
    export: Export = "zeroed",
    onnx: bool = False,
    search_settings: SearchSettings | None = None,
    fine_tune_settings: FineTuneSettings | None = None,
    seed: int = 0,
    units: Pruned = "heads",
    unlabelled: Unlabelled | None = None,
    **loading: Unpack[LoadingKeywords],
) -> dict[str, Any]:
    """Purify a model and write the folder `out`: model, `mask.json`, `report.json`, events.

    In a process one purification runs at a time; a second thread waits for its turn.

    Args:
        source: Folder of the suspicious encoder or classifier.
        train: Clean sentences to train on.
        validation: Clean sentences on which masks are judged.
        out: Output folder; it appears when everything in it is whole.
        policy: A name in `POLICIES`, or the folder of a trained agent; `auto`: see `choose`.
        mask: File of a mask to apply as it is (see `read_mask`); no policy then searches.
        protocol: See `heal`.
        healing: See `heal`; `auto`: see `choose`.
        export: `zeroed` loads everywhere; `sliced` is smaller, `prune_env.load_pruned` reads it.
        onnx: Write `model.onnx` too (see `prune_env.models.onnx`).
        search_settings: Of the search.
        fine_tune_settings: Of every fine-tuning; None: as usual, see `usual_fine_tuning`.
        seed: Of everything random.
        units: What the mask chooses from: `heads`, or `hybrid`, see `UnitMap`.
        unlabelled: Texts like the clean ones, which a refit reads too; see `training.teacher`.
        **loading: How the model is loaded, see `LoadingSettings`.

    Returns:
        The content of `report.json`.

    Raises:
        PruneEnvError: `out` holds something already; or see `Plan` and `check_answers`.
    """
    check_paths(source, out, policy, mask)
    check_kinds(train, validation, unlabelled, search_settings, fine_tune_settings)
    choice = choose(str(policy), healing, protocol, train, search_settings, mask=mask, units=units)
    plan = Plan(
        *(source, train, validation, choice, None if mask is None else Path(mask)),
        *(protocol, export, onnx),
        fine_tune=fine_tune_settings or usual_fine_tuning(choice.healing, train),
        seed=check_seed(seed),
        loading=loading_settings(loading),
        units=units,
        unlabelled=unlabelled,
    )
    return carry_out(plan, out)


@own_randomness()
def carry_out(plan: Plan, out: str | Path) -> dict[str, Any]:
    """Purify as planned; returns and errors as those of `purify`."""
    require_outside(out, plan.source)
    plan.check()
    with (
        auto_means(plan.fine_tune.precision),  # searches may not differ by the processor either
        new_folder(out) as folder,
        recording(folder, "purify"),
        SummaryWriter(folder / "tensorboard") as writer,
        job("purify", 4) as begin,
    ):
        begin("fine-tune on clean data")
        events = folder / "tensorboard"
        subject = _prepare(plan, events / "fine_tune")
        plan.require_a_change(subject, prunes=plan.required.prunes)
        warn_of_few(plan.validation, subject.accuracy)
        warn_of_contradictions(plan.train, plan.validation)
        answers = _check_subject(plan, subject)
        begin("choose heads")
        if plan.mask is None:
            found = search(
                subject, plan.chosen.policy, plan.chosen.search, seed=plan.seed, writer=writer
            )
        else:
            found = read_mask(subject, plan.mask, plan.chosen.search)
            plan.require_a_change(subject, prunes=found.prunes(subject.units.available))
        changed = _changes(plan, subject, found)
        begin("heal")
        started = time.perf_counter()
        healed, attempts = heal_above_tau(
            subject.under_guard(found.guard),
            found.masks,
            plan.run(plan.required.final, events / "fine_tune_again"),
            partial(_judge, plan, found, answers),
            protocol=plan.protocol,
            healing=plan.chosen.healing,
            loading=plan.loading,
        )
        seconds = subject.seconds + found.seconds + time.perf_counter() - started
        begin("check and write")
        warn_below_tau(chosen(attempts).verdict)
        warn_of_triggers_left(healed.reports, healed.model.label_names)
        report = make_report(
            plan, subject, found, healed, answers=answers, attempts=attempts, seconds=seconds
        )
        write_purified(
            healed.model,
            tuple(subject.units.head_part(mask) for mask in found.masks),
            folder,
            export=plan.export,
            onnx=plan.onnx,
            facts=card_facts(report) | ({} if changed else UNCHANGED),
            oracle=found.oracle,
        )
        if plan.units == "hybrid":
            write_mask(subject, healed.model, found, folder)
        draw_patches(healed.reports, healed.model.label_names, folder)
        write_json(folder / "report.json", report)
    return report


def _prepare(plan: Plan, events: Path) -> Subject:
    """Return the suspicious model as the plan's policy plays it."""
    hybrid = plan.units == "hybrid"
    sentences = plan.chosen.search.importance_sentences
    subject = prepare(
        plan.source,
        plan.train,
        plan.validation,
        plan.run(plan.required.search, events),
        metrics=() if hybrid else plan.metrics,
        importance_sentences=sentences,
        loading=plan.loading,
    )
    if plan.unlabelled is not None:
        subject = teach(subject, plan.unlabelled)
    if not hybrid:
        return subject
    started = time.perf_counter()
    subject = cut(subject, plan.metrics, sentences=sentences, seed=plan.seed)
    return replace(subject, seconds=subject.seconds + time.perf_counter() - started)


def _changes(plan: Plan, subject: Subject, found: SearchResult) -> bool:
    """Return whether the written model will differ from the one that came; warn where not."""
    if found.prunes(subject.units.available) or plan.trains(subject):
        return True
    remedy = f"Lower tau, or choose --healing {best_healing(plan.train)}"
    told = "Nothing was pruned, and nothing is trained: what is written is the model as it came."
    log.warning("%s %s", told, remedy)
    return False


def _judge(plan: Plan, found: SearchResult, answers: Answers, healed: Healed) -> Verdict:
    """Return whether a purified model keeps tau on the validation data of the plan."""
    return judge_tau(
        healed.model,
        plan.validation,
        found.tau,
        found.guard,
        max_length=plan.fine_tune.max_length,
        before=answers.predictions == answers.labels,
        relative=plan.chosen.search.tau is None and plan.required.tau is None,
    )


def _check_subject(plan: Plan, subject: Subject) -> Answers:
    """Return what the whole model answers, if that belongs to the labels, see `check_answers`.

    Raises:
        DataError: Or else tau would guard nothing of a ready classifier.
    """
    suspect = subject.require_suspect()
    ready = not suspect.loaded.new_head
    answers = check_answers(
        subject.evaluator.evaluate(subject.evaluator.available[None]),
        suspect.loaded.label_names,
        public_name(subject.source),
        ready=ready,
        more=partial(answer_training_rows, suspect) if ready else None,  # a new head has seen them
    )
    settings = plan.chosen.search
    judged = subject.under_guard(settings.guard, settings.threshold(subject.accuracy))
    if judged.accuracy == 0:
        require_a_guard(answers, guard_of(judged.evaluator), subject.source, ready=ready)
    return answers
