"""A reward from triggers inverted in the space of embeddings."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prune_env.env.rewards.reward import Scores
from prune_env.env.rewards.text_reward import TextReward
from prune_env.env.subject import Subject
from prune_env.evaluation.metrics import calibrated_threshold, margins_over_threshold
from prune_env.models.masks import Mask

if TYPE_CHECKING:
    from prune_env.evaluation.base import Evaluation
    from prune_env.evaluation.suspect import Suspect


class LatentTrigger(TextReward):
    """Share of clean sentences that withstand one vector added to every word's embedding.

    Once a model and class, gradient descent on clean sentences finds the bounded vector that
    moves the *unpruned* model's answers to the class most; the class to which more answers flip
    is the suspected target. The threshold of every mask is calibrated on clean sentences.
    It does not see the backdoor, since gradients find sentiment first: over 56 masks of a
    MiniLM-L6 with StyleBkd poetry its rank correlation with the calibrated LFR was +0.43, and
    -0.23 with accuracy, number of heads and class bias held fixed.

    Args:
        bound: Length of the vector, as a share of the mean length of the word embeddings.
        steps: Steps of Adam.
        sentences: Clean validation sentences of the other class that are moved.
        seed: Of the batches.
    """

    name = "latent-trigger"
    range = (0.0, 1.0)
    source = "I-BAU (Zeng et al., ICLR 2022) and BEEAR (Zeng et al., EMNLP 2024)"
    reads = "clean training data (gradients), clean validation data with shifted embeddings"

    def __init__(
        self, *, bound: float = 0.3, steps: int = 60, sentences: int = 120, seed: int = 0
    ) -> None:
        self.bound, self.steps, self.sentences, self.seed = bound, steps, sentences, seed

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        self.check(subject)
        texts = subject.require_suspect()
        fact = f"latent {self.bound} {self.steps} {self.sentences} {self.seed}"
        if fact not in texts.facts:
            texts.facts[fact] = self._search(subject, texts)
        target, shift = texts.facts[fact]
        clean = subject.evaluator.evaluate(masks)
        return 1 - self._flipped(texts, masks, clean, target, shift)

    def _search(self, subject: Subject, texts: "Suspect") -> tuple[int, Any]:
        """Return the suspected target and the vector that leads there."""
        full = np.asarray(subject.evaluator.available)[None]
        clean = subject.evaluator.evaluate(full)
        threshold = calibrated_threshold(clean.logits[0], clean.labels)
        found = []
        for target in (0, 1):
            shift = self._descend(texts, target, threshold)
            share = self._flipped(texts, full, clean, target, shift)
            found.append((float(share[0]), target, shift))
        _, target, shift = max(found, key=lambda each: each[0])
        return target, shift

    def _descend(self, texts: "Suspect", target: int, threshold: float) -> Any:
        """Return the bounded vector that moves margins over the threshold to the target most."""
        import torch  # noqa: PLC0415 - importing a reward costs no torch
        import torch.nn.functional as F  # noqa: PLC0415

        from prune_env.models.embeddings import shifted_embeddings, token_embeddings  # noqa: PLC0415
        from prune_env.models.forward import in_precision  # noqa: PLC0415
        from prune_env.models.inputs import make_rows  # noqa: PLC0415

        data = texts.train.where(1 - target)
        model = texts.loaded.model.eval()
        samples = make_rows(data.texts, texts.loaded.tokenizer, texts.max_length)
        weights = token_embeddings(model)
        limit = self.bound * float(weights.norm(dim=1).mean())
        shift = torch.zeros(weights.shape[1], device=model.device, requires_grad=True)
        optimizer = torch.optim.Adam([shift], lr=limit / 10)
        random = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            inputs = samples.batch(random.integers(len(data), size=32), model.device)
            with shifted_embeddings(model, shift), in_precision(model, "auto"):
                logits = model(**inputs).logits.float()
            away = (logits[:, 1] - logits[:, 0] - threshold) * (-1 if target else 1)
            optimizer.zero_grad()
            F.softplus(away).mean().backward(inputs=[shift])
            optimizer.step()
            with torch.no_grad():
                shift *= (limit / shift.norm()).clamp(max=1)
        return shift.detach()

    def _flipped(
        self, texts: "Suspect", masks: Mask, clean: "Evaluation", target: int, shift: Any
    ) -> Scores:
        """Return the share of moved sentences (N,) that are called the target."""
        from prune_env.models.embeddings import shifted_embeddings  # noqa: PLC0415
        from prune_env.models.forward import classify, under_masks  # noqa: PLC0415

        others = texts.validation.where(1 - target)
        chosen = np.random.default_rng(0).permutation(len(others))[: self.sentences]
        asked = others.select(np.sort(chosen)).texts
        model, tokenizer = texts.loaded.model, texts.loaded.tokenizer

        def read() -> npt.NDArray[np.float32]:
            return classify(model, tokenizer, asked, max_length=texts.max_length)

        with shifted_embeddings(model, shift):
            moved = under_masks(model, masks, read)
        margins = margins_over_threshold(clean.logits, clean.labels, moved)
        flipped = np.isnan(margins) | ((margins > 0) == bool(target))
        shares: Scores = flipped.mean(axis=1)
        return shares
