"""What a defender has: a suspicious classifier and clean texts, with evaluators on them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from prune_env.data.dataset import Rewrite
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation import Evaluator
    from prune_env.models import LoadedModel

T = TypeVar("T")
REMEMBERED = 8
"""Evaluators on other texts that are kept; each holds up to `CACHE_BYTES`."""

CACHE_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class Suspect:
    """A classifier and its clean data, shared by whatever scores masks of it.

    What is found out about it is remembered; a copy made with `replace` remembers nothing.

    Attributes:
        loaded: The classifier.
        train: Clean sentences that it was trained on, labels in the order of its logits.
        validation: Clean sentences on which masks are judged, likewise.
        evaluator: Accuracy on `validation` under a mask.
        max_length: Tokens kept of a sentence.
    """

    loaded: "LoadedModel"
    train: "TextDataset"
    validation: "TextDataset"
    evaluator: "Evaluator"
    max_length: int = 128
    _made: "dict[str, Evaluator]" = field(default_factory=dict, init=False, repr=False)
    _parts: "dict[int, Suspect]" = field(default_factory=dict, init=False, repr=False)
    _facts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def part(self, sentences: int) -> "Suspect":
        """Return the same classifier on a fixed, stratified part of the validation texts."""
        rows = len(self.validation)
        if not 0 < sentences < rows:
            raise SettingsError(
                "No such part of the validation sentences",
                expected=f"1 to {rows - 1} of {rows}",
                actual=sentences,
            )
        if sentences not in self._parts:
            _, part = self.validation.split(sentences / rows, seed=0)
            self._parts[sentences] = replace(
                self, validation=part, evaluator=self.evaluator_on(part)
            )
        return self._parts[sentences]

    def with_model(self, loaded: "LoadedModel") -> "Suspect":
        """Return another classifier, such as a changed copy, with the same clean data."""
        return replace(self, loaded=loaded, evaluator=self._evaluator(loaded, self.validation))

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
            self._made[key] = self._evaluator(self.loaded, data)
        return self._made[key]

    def _evaluator(self, loaded: "LoadedModel", data: "TextDataset") -> "Evaluator":
        from prune_env.evaluation import MaskEvaluator  # noqa: PLC0415 - imports torch

        return MaskEvaluator(
            loaded.model,
            loaded.tokenizer,
            data,
            max_length=self.max_length,
            max_cache_bytes=CACHE_BYTES,
        )

    def once(self, name: str, find: Callable[[], T]) -> T:
        """Return what `find` learns about the classifier, found at the first call of this name."""
        if name not in self._facts:
            self._facts[name] = find()
        fact: T = self._facts[name]
        return fact
