"""Subjects whose masks choose from all units: heads, groups of neurons, strengths of maps."""

from collections.abc import Sequence
from dataclasses import replace

from prune_env.data.table_format import Named
from prune_env.env.recorded import recorded_of
from prune_env.env.subject import Subject
from prune_env.env.subjects import IMPORTANCE_SENTENCES, find_subject
from prune_env.errors import SettingsError
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import guard_evaluator, guard_of
from prune_env.importance.registry import UNIT_FEATURES
from prune_env.models.units import Units
from prune_env.settings import UnitSettings
from prune_env.utils.counts import count_of


def find_units(
    model: str | Subject, data: Named | None, metrics: Sequence[str], settings: UnitSettings
) -> Subject:
    """Return what a user means by a model, cut into units once per process.

    Args:
        model: As `find_subject` takes it.
        data: Clean data for a classifier.
        metrics: Names of the importance metrics.
        settings: How the model is cut.

    Raises:
        SettingsError: A model holds no texts, so that nothing but its heads is known of it.
    """
    metrics = tuple(metrics)
    if settings.heads_only and not set(metrics) & set(UNIT_FEATURES):
        return find_subject(model, data, metrics)
    subject = find_subject(model, data, ())
    if subject.suspect is None:
        if not _cut_as(subject.units, settings):
            raise _uncut(subject, settings)
        return find_subject(model, data, metrics)
    subject = with_units(subject, metrics, settings)
    if isinstance(model, Subject):
        return subject
    return replace(subject, origin=(find_units, (model, data, metrics, settings)))


def _cut_as(units: Units, settings: UnitSettings) -> bool:
    """Return whether what holds no texts was made with units, and nobody asks for others."""
    own = (units.groups, units.steps)
    return not units.heads_only and (
        settings.heads_only or own == (settings.groups, settings.steps)
    )


def _uncut(subject: Subject, settings: UnitSettings) -> SettingsError:
    """Return why what holds no texts has none of the units that are asked for."""
    if recorded_of(subject.evaluator) is None:
        groups, steps = settings.groups, settings.steps
        units = f"groups={groups},steps={steps}" if groups or steps else "groups=8,steps=4"
        remedy = f"a landscape is made with its units: model='landscape:{units}'"
    else:
        remedy = "a recorded model is played with the units that it was recorded with (prune-env"
        remedy += " record --units hybrid): of heads alone leave out neuron_groups, map_steps and"
        remedy += f" the metrics {', '.join(UNIT_FEATURES)}"
    asked = (
        f"{count_of(settings.groups, 'group')} of neurons and "
        f"{count_of(settings.steps, 'step')} of maps"
    )
    return SettingsError(
        f"{subject.name} holds no texts, so that no other units can be cut",
        expected=f"a model with clean data; {asked} are asked for",
        actual=f"{count_of(subject.units.groups, 'group')} and "
        f"{count_of(subject.units.steps, 'step')}",
        remedy=remedy,
    )


def with_units(
    subject: Subject,
    metrics: Sequence[str],
    settings: UnitSettings,
    *,
    sentences: int = IMPORTANCE_SENTENCES,
    seed: int = 0,
) -> Subject:
    """Return a model with its units measured, whatever its masks chose from before.

    Its guard stays, and it counts masks if it did.

    Args:
        subject: The model, with its texts.
        metrics: Names of the importance metrics.
        settings: How it is cut.
        sentences: Clean training sentences that the metrics are measured on.
        seed: Of their draw.

    Raises:
        SettingsError: The subject holds no texts.
    """
    from prune_env.importance.units import unit_importance  # noqa: PLC0415 - imports torch

    metrics = tuple(metrics)
    suspect = subject.require_suspect().with_units(settings)
    unit_map = suspect.unit_map
    assert unit_map is not None  # it was cut just now
    fact = f"importance of {metrics} on {sentences}, seed {seed}"
    if fact not in suspect.facts:
        suspect.facts[fact] = unit_importance(
            suspect.loaded,
            suspect.train,
            unit_map,
            metrics,
            max_length=suspect.max_length,
            max_sentences=sentences,
            seed=seed,
        )
    evaluator = guard_evaluator(suspect.evaluator, guard_of(subject.evaluator))
    if isinstance(subject.evaluator, CountingEvaluator):
        evaluator = subject.evaluator.over(evaluator)
    return replace(
        subject,
        evaluator=evaluator,
        importance=suspect.facts[fact],
        metrics=metrics,
        suspect=suspect,
        origin=None,
    )
