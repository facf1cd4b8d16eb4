"""What a defender has: a suspicious classifier and clean texts, with evaluators on them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prune_env.data.dataset import Rewrite
from prune_env.errors import SettingsError
from prune_env.settings import UnitSettings

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.data.unlabelled import Lesson
    from prune_env.evaluation import Evaluator
    from prune_env.models import LoadedModel
    from prune_env.models.unit_map import UnitMap

REMEMBERED = 8
"""Evaluators on other texts that are kept; each holds up to `CACHE_BYTES`."""

CACHE_BYTES, FIRST_CACHE_BYTES = 1 << 28, 3 << 28
"""Memory of an evaluator on other texts, and of the one on the validation texts."""


def make_suspect(
    loaded: "LoadedModel", train: "TextDataset", validation: "TextDataset", max_length: int = 128
) -> "Suspect":
    """Return a classifier with its clean data, each part aligned by the names of its own labels.

    Args:
        loaded: The classifier.
        train: Clean sentences that it was trained on.
        validation: Clean sentences on which masks are judged.
        max_length: Tokens kept of a sentence.

    Raises:
        ModelError: A part has labels of other names than the classifier.
    """
    from prune_env.evaluation import MaskEvaluator  # noqa: PLC0415 - imports torch

    train, validation = loaded.aligned(train), loaded.aligned(validation)
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, validation, max_length=max_length)
    return Suspect(loaded, train, validation, evaluator, max_length)


@dataclass(frozen=True, eq=False)
class Suspect:
    """A classifier and its clean data, shared by whatever scores masks of it.

    What is found out about it is remembered; a copy made with `replace` remembers nothing, and
    its `facts` are empty.

    Attributes:
        loaded: The classifier.
        train: Clean sentences that it was trained on, labels in the order of its logits.
        validation: Clean sentences on which masks are judged, likewise.
        evaluator: Accuracy on `validation` under a mask.
        max_length: Tokens kept of a sentence.
        unit_map: The units that masks choose from; None for heads alone.
        lesson: The user's texts that came without labels, with those of a teacher that cannot
            hold the backdoor, likewise; a refit trains on them too.
        facts: What is found out about the classifier, by a name that says all it depends on.
    """

    loaded: "LoadedModel"
    train: "TextDataset"
    validation: "TextDataset"
    evaluator: "Evaluator"
    max_length: int = 128
    unit_map: "UnitMap | None" = None
    lesson: "Lesson | None" = None
    facts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _made: "dict[str, Evaluator]" = field(default_factory=dict, init=False, repr=False)
    _parts: "dict[int, Suspect]" = field(default_factory=dict, init=False, repr=False)

    def part(self, sentences: int) -> "Suspect":
        """Return the same classifier on a fixed, stratified part of the validation texts."""
        rows = len(self.validation)
        if not 0 < sentences < rows:
            raise SettingsError(
                "No such part of the validation data",
                expected=f"1 to {rows - 1:,} of {rows:,}",
                actual=sentences,
            )
        if sentences not in self._parts:
            _, part = self.validation.split(sentences / rows, seed=0)
            self._parts[sentences] = replace(
                self, validation=part, evaluator=self.evaluator_on(part)
            )
        return self._parts[sentences]

    def afresh(self) -> "Suspect":
        """Return the same classifier with the same clean data, of which nothing is remembered.

        What was remembered may have been computed in another precision.
        """
        return replace(self, evaluator=self._evaluator(self.validation, FIRST_CACHE_BYTES))

    def with_model(self, loaded: "LoadedModel") -> "Suspect":
        """Return another classifier, such as a changed copy, with the same clean data.

        Its evaluator is the plain one: for one look at it, a faster one is not worth its proof.
        Masks of it are of heads alone: the units of one model are not those of another.
        """
        from prune_env.evaluation import ReferenceEvaluator  # noqa: PLC0415 - imports torch

        evaluator = ReferenceEvaluator(
            loaded.model, loaded.tokenizer, self.validation, max_length=self.max_length
        )
        return replace(self, loaded=loaded, evaluator=evaluator, unit_map=None)

    def with_units(self, settings: UnitSettings) -> "Suspect":
        """Return the same classifier, whose masks choose from its units, cut once."""
        if self.unit_map is not None and self.unit_map.settings == settings:
            return self
        from prune_env.models.unit_map import measure_units  # noqa: PLC0415 - imports torch

        name = f"{settings}"
        if name not in self.facts:
            length = self.max_length
            units = measure_units(self.loaded, self.train, settings, max_length=length)
            other = replace(self, unit_map=units)
            self.facts[name] = replace(other, evaluator=other.evaluator_on(self.validation))
        suspect: Suspect = self.facts[name]
        return suspect

    def release(self) -> None:
        """Give back what its evaluators hold for speed alone, before work that needs memory."""
        from prune_env.evaluation.model_evaluator import ModelEvaluator  # noqa: PLC0415 - torch

        for each in (self.evaluator, *self._made.values()):
            if isinstance(each, ModelEvaluator):
                each.release()

    def rewritten(self, rewrite: Rewrite) -> "Evaluator":
        """Return an evaluator on the validation texts, each passed through `rewrite`."""
        texts = tuple(rewrite(text) for text in self.validation.texts)
        return self.evaluator_on(replace(self.validation, texts=texts))

    def evaluator_on(self, data: "TextDataset") -> "Evaluator":
        """Return an evaluator of the classifier on other texts; the last few are remembered."""
        key = data.sha256
        if key not in self._made:
            while len(self._made) >= REMEMBERED:
                self._made.pop(next(iter(self._made)))
            self._made[key] = self._evaluator(data, CACHE_BYTES)
        return self._made[key]

    def _evaluator(self, data: "TextDataset", max_cache_bytes: int) -> "Evaluator":
        from prune_env.evaluation import MaskEvaluator  # noqa: PLC0415 - imports torch

        return MaskEvaluator(
            self.loaded.model,
            self.loaded.tokenizer,
            data,
            max_length=self.max_length,
            max_cache_bytes=max_cache_bytes,
            unit_map=self.unit_map,
        )
