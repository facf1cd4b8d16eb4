"""Asks the model of a run: accuracy under a changed mask, what a head looks at, what it weighs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.cli.watch.origin import Origin
from prune_env.data.pairs import shown
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect
    from prune_env.models.masks import Mask

SUBSET = 256
"""Validation texts that a mask is judged on at once, a stratified part: enough for an answer
within a second, with an interval of some points."""

SENTENCES = 100
"""Texts that a user may choose from."""

TOKENS = 48
"""Of a text whose attention is drawn."""

MEASURED = 200
"""Texts that the heads are measured on."""


@dataclass(frozen=True, eq=False)
class _Loaded:
    suspect: "Suspect"
    part: "Suspect"
    told: str


class Examiner:
    """Answers questions about the model of a run; it is loaded at the first.

    Not meant for several threads at once.

    Args:
        run: Folder of the run.
        origin: What it is of.
    """

    def __init__(self, run: Path, origin: Origin) -> None:
        self._run = run
        self._origin = origin

    def facts(self) -> dict[str, Any]:
        """Return which model answers, its shape, its classes and some texts to choose from."""
        loaded = self._loaded
        data = loaded.part.validation
        rows = [
            {"text": shown(text), "label": data.label_names[label]}
            for text, label in zip(data.texts, data.labels.tolist(), strict=True)
        ]
        return {
            "model": loaded.told,
            "shape": list(loaded.suspect.evaluator.shape),
            "labels": list(data.label_names),
            "rows": len(data),
            "all_rows": len(loaded.suspect.validation),
            "sentences": rows[:SENTENCES],
        }

    def accuracy(self, rows: Sequence[str], everything: bool = False) -> dict[str, Any]:
        """Return the accuracy under a mask with its Wilson interval, in percent.

        Args:
            rows: The mask, see `event_kinds`.
            everything: Judge it on all validation texts, not on a part of them.
        """
        from prune_env.evaluation.metrics import share

        asked = self._loaded.suspect if everything else self._loaded.part
        mask = self._mask(rows)
        full = asked.evaluator.available
        answer = asked.evaluator.evaluate(np.stack([full, mask]))
        before, after = answer.predictions
        return {
            "accuracy": asdict(share(answer.correct[1])),
            "unpruned": asdict(share(answer.correct[0])),
            "changed": int((before != after).sum()),
            "all_rows": len(self._loaded.suspect.validation),
        }

    def importance(self) -> dict[str, list[list[float]]]:
        """Return the importance of every head by some metrics, on some of the clean texts."""
        from prune_env.importance import DEFAULT_METRICS, head_importance

        suspect = self._loaded.suspect
        metrics = (*DEFAULT_METRICS, "attention_entropy")
        fact = "watched importance"
        if fact not in suspect.facts:
            suspect.facts[fact] = head_importance(
                suspect.loaded.model,
                suspect.loaded.tokenizer,
                suspect.train,
                metrics,
                max_length=suspect.max_length,
                max_sentences=MEASURED,
            )
        values = suspect.facts[fact]
        return {name: values[..., index].tolist() for index, name in enumerate(metrics)}

    def attention(
        self, rows: Sequence[str], layer: int, head: int, sentence: int
    ) -> dict[str, Any]:
        """Return what a head looks at in a text, and what the model does with and without it.

        Returns:
            `tokens`; `weights`, the attention of the head, a row a token that looks; `read`, the
            token that the classifier reads; and for the head open and closed, `probabilities` of
            the classes and `last`, where the token that is read looks in the last layer, the mean
            over its heads. Closing a head leaves its own attention as it is: what is added up
            after it changes, and so what later layers look at.
        """
        from prune_env.cli.watch.attention import read_attention

        mask = self._mask(rows)
        if not (0 <= layer < mask.shape[0] and 0 <= head < mask.shape[1]):
            raise SettingsError("No such head", expected=f"in {mask.shape}", actual=(layer, head))
        data = self._loaded.part.validation
        if not 0 <= sentence < min(SENTENCES, len(data)):
            raise SettingsError("No such sentence", expected="one of those shown", actual=sentence)
        opened, closed = mask.copy(), mask.copy()
        opened[layer, head], closed[layer, head] = True, False
        loaded = self._loaded.suspect.loaded
        seen = [
            read_attention(loaded, data.texts[sentence], gates, layer, TOKENS)
            for gates in (opened, closed)
        ]
        return {
            "tokens": seen[0].tokens,
            "read": seen[0].read,
            "weights": np.round(seen[0].maps[head], 4).tolist(),
            "labels": list(data.label_names),
            "answers": [
                {
                    "probabilities": np.round(each.probabilities, 4).tolist(),
                    "last": np.round(each.last, 4).tolist(),
                }
                for each in seen
            ],
        }

    def ask(self, question: str, body: Mapping[str, Any]) -> Any:
        """Answer a question of the page.

        Args:
            question: Name of a method.
            body: Its arguments, not yet checked.

        Raises:
            SettingsError: There is no such question, or an argument is missing or of another kind.
        """
        questions: dict[str, tuple[Callable[..., Any], dict[str, type]]] = {
            "facts": (self.facts, {}),
            "importance": (self.importance, {}),
            "accuracy": (self.accuracy, {"rows": list, "everything": bool}),
            "attention": (
                self.attention,
                {"rows": list, "layer": int, "head": int, "sentence": int},
            ),
        }
        if question not in questions:
            raise SettingsError("No such question", expected=", ".join(questions), actual=question)
        method, wanted = questions[question]
        for name, kind in wanted.items():
            if type(body.get(name)) is not kind:
                raise SettingsError(
                    f"{name} is missing or of another kind",
                    expected=kind.__name__,
                    actual=f"{body.get(name)!r:.40}",
                )
        return method(**{name: body[name] for name in wanted})

    @cached_property
    def _loaded(self) -> _Loaded:
        suspect, told = self._origin.load(self._run)
        part = suspect.part(SUBSET) if len(suspect.validation) > SUBSET else suspect
        # The first mask decides how masks are computed; that must not keep the user waiting.
        part.evaluator.accuracy(part.evaluator.available[None])
        return _Loaded(suspect, part, told)

    def _mask(self, rows: Sequence[Any]) -> "Mask":
        from prune_env.models.masks import validate_mask

        evaluator = self._loaded.suspect.evaluator
        values = [[letter == "1" for letter in row] for row in rows if isinstance(row, str)]
        if len({len(row) for row in values}) > 1:
            raise SettingsError("The rows of a mask differ in length", actual=f"{rows!r:.80}")
        mask = validate_mask(np.array(values, bool), evaluator.shape)
        return mask & evaluator.available
