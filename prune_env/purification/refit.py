"""Refitting of linear maps to clean data, with the smallest weights that do.

What a layer reads varies, on clean data, along few directions of its input space; a trigger that
clean data does not hold is read along the others too. So every linear map is fitted anew, by ridge
regression, to its own answers on clean inputs (see `ridge`). Weights that clean data asks for stay,
the rest fades; no gradient, no trigger and no label is needed. lambda is chosen by how well clean
rows are told apart. Fine-tuning on clean data then mends what clean data misses, and hardly regrows
the rest, since its gradients lie in the directions that clean data uses. Few texts it would learn
by heart, and so reads most of them in other styles.

Source: Fine-Pruning (Liu et al., RAID 2018) prunes the neurons that clean data leaves dormant; the
same is done here to directions, as in SliceGPT (Ashkboos et al., ICLR 2024), and softly. Weight
decay shrinks likewise, but would need thousands of epochs at the rates of fine-tuning.
"""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.restyle import Restyle
from prune_env.models import LoadedModel, find_heads, zero_heads
from prune_env.models.embeddings import token_embeddings
from prune_env.models.ridge import measure_maps
from prune_env.purification.judge import Judge
from prune_env.purification.step import FEW_TEXTS, MaskedModel, RefitReport, Step, StepReport
from prune_env.purification.strength import fit_strongest
from prune_env.purification.unseen_tokens import replace_unseen
from prune_env.settings import SEEDS
from prune_env.training.dropout import dropped_out
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import TrainingRun
from prune_env.utils.event_kinds import RefitDone
from prune_env.utils.events import emit
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)

STRENGTHS = tuple(0.01 * 2 ** (step / 2) for step in range(17))
"""Values of lambda that are tried, as multiples of the mean variance of a map's inputs (of what is
not massive: `Spectrum.scale`)."""


ROWS = 640
"""Clean rows on which separation is measured; of SST-2, 290 are good to half a step of strength."""

LEAST_DROP = 0.005
"""Separation that a refit may cost a model that tells its clean rows apart without a mistake."""

SHARED = 2
"""By so much at most what a refit may cost is divided, where a text may be lost to several classes:
on ten classes of images a ninth left up to 17 points more of a backdoor than a third did, on four
classes of texts a third 8 points more than a half, at as much accuracy."""

WIDTH = 384
"""Width of the model that the rate was chosen on. What a wider one bears falls with its width
(Tensor Programs V, Yang et al., 2022): MPNet-base fell to chance in the first 2,048 sentences."""


@dataclass(frozen=True)
class Refit(Step):
    """Refit the layers to clean data and fine-tune them, a few times; of few texts, once.

    Before it, tokens that clean data does not hold are replaced by their neighbours, where that
    costs little.

    Attributes:
        strengths: Values of lambda that are tried, ascending, over the mean variance of a map's
            inputs.
        sentences: Clean texts that inputs are collected on.
        max_drop: What of the separation of classes (0 to 1, see `evaluation.separation`) on clean
            rows a refit may cost; not more than lacks to 1 already, if that is more than
            `LEAST_DROP`. It falls smoothly, as that of other rows does; validation accuracy on 128
            rows chose any strength, from none to one that cost 5 points. Of K classes a text may be
            lost to K - 1, so that as much accuracy is so much less of separation: this and the
            bounds below are divided by K - 1, or by `SHARED`.
        max_drop_again: What every later refit may cost of what is left by then, where that is more:
            a training may leave less than the first refit did. Of 1,600 sentences of the demo's
            attack no strength was left to the second, and a third of the backdoor stayed.
        max_drop_unseen: What of it the replacement of unseen tokens may cost. Of 6,920 sentences
            that was 0.1 to 0.3 points; of 512 it was 1 to 3, and 6 to 8 points of test accuracy,
            since more than a quarter of what is read is unseen then.
        rounds: How often the two are done; it ends before, where no strength is left to a refit
            (of 500 sentences, half a point of accuracy and 20 seconds went for nothing).
        texts: Fewest and most that are fine-tuned on after each refit: all of the training data,
            but for these bounds; of fewer, each is read several times.
        trained_from: Texts from which on they are fine-tuned on as they are. Of fewer there is one
            refit, and each is read once as it is and then in `styles` drawn anew (see `Restyle`):
            read so often as they are, they are learned by heart.
        styles: Readings of each of few texts in other styles. Of 512 four left 6 and 12 points less
            (HiddenKiller, poetry) than reading them five times as they are; eight, of 400, took 4
            points of accuracy.
        share_more: Of texts that a teacher labelled (`Suspect.lesson`) so many are read with the
            clean ones, over these.
        learning_rate_scale: Rate of each fine-tuning over that of the fine-tuning before: there is
            more to mend. At 1 more of the Bible style stayed; at 5 it diverges. Of models wider
            than `WIDTH` it is less, in proportion.
        scale_of_few: The same where texts are few; at 2, up to a point of accuracy less came back,
            for 0.6 to 3.5 points less of a backdoor.
        average: Share of the steps of each fine-tuning whose weights are averaged, the last: the
            rate then need not fall, and a point of accuracy more comes back.
        dropout: Probability of dropout in each fine-tuning, of models that drop anything out at
            all: what is learned anew then hangs less on any one direction. At the usual 0.1 poetry
            kept 3.9 points in the mean of three models, at 0.3 0.4, at as much accuracy.
    """

    removes_backdoor: ClassVar[bool] = True
    strengths: tuple[float, ...] = STRENGTHS
    sentences: int = 1000
    max_drop: float = 0.015
    max_drop_again: float = 0.0075
    max_drop_unseen: float = 0.005
    rounds: int = 2
    texts: tuple[int, int] = (2048, 6920)
    trained_from: int = FEW_TEXTS
    styles: int = 4
    share_more: float = 0.5
    learning_rate_scale: float = 2.0
    scale_of_few: float = 1.0
    average: float = 0.5
    dropout: float = 0.3

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        """Refit and fine-tune, see `Step.apply`; of the settings, epochs do not count."""
        suspect, loaded = model.suspect, model.loaded
        rows = _rows(model, run.seed)
        before, shared = rows.separation(), min(len(suspect.train.label_names) - 1, SHARED)
        replaced = self._replace_unseen(model, rows, least=before - self.max_drop_unseen / shared)
        least = _least(before, self.max_drop / shared)
        images = isinstance(suspect.train, ImageDataset)
        few = not images and len(suspect.train) < self.trained_from
        rate = self._scale(loaded, few=few) * run.settings.learning_rate
        tuning = replace(run.settings, epochs=1, learning_rate=rate)
        draw = np.random.default_rng(run.seed)
        reports = []
        for number in range(1 if few else self.rounds):
            if number:
                before = rows.separation()
                least = min(least, _least(before, self.max_drop_again / shared))
            report = self.refit(
                model,
                rows,
                before=before,
                least=least,
                seed=run.seed,
                unseen_tokens=0 if number else replaced,
            )
            reports.append(report)
            zero_heads(loaded.model, model.mask)
            if number and not report.strength:
                break  # training would mend nothing
            texts = self._restyled(suspect, draw) if few else self._texts(suspect, draw)
            with dropped_out(loaded.model, self.dropout), model.alone():
                fine_tune(
                    loaded.model,
                    loaded.tokenizer,
                    texts,
                    tuning,
                    seed=(run.seed + number) % SEEDS,
                    mask=model.mask,
                    average=self.average,
                    folder=run.place(f"refit-{number + 1}"),
                    description="Fine-tuning what is left",
                )
        return StepReport(refits=tuple(reports))

    def _texts(self, suspect: Suspect, draw: np.random.Generator) -> TextDataset:
        """Return what a fine-tuning reads: clean texts, and some that a teacher labelled."""
        fewest, most = self.texts
        count = min(max(len(suspect.train), fewest), most)
        texts = suspect.train.sample(count, draw)
        if suspect.lesson is None:
            return texts
        return texts.joined(suspect.lesson.texts.sample(round(self.share_more * count), draw))

    def _restyled(self, suspect: Suspect, draw: np.random.Generator) -> TextDataset:
        """Return what it reads of few: each text once as it is, then in styles drawn anew."""
        again = suspect.train.sample(self.styles * len(suspect.train), draw)
        return suspect.train.joined(Restyle.of(suspect)(again, draw))

    def _scale(self, loaded: LoadedModel, *, few: bool) -> float:
        """Return the factor on the rate: the wider a model, the lower the rate it bears."""
        scale = self.scale_of_few if few else self.learning_rate_scale
        return scale * min(1.0, WIDTH / find_heads(loaded.model).width)

    def refit(
        self,
        model: MaskedModel,
        rows: Judge,
        *,
        before: float,
        least: float,
        seed: int = 0,
        unseen_tokens: int = 0,
    ) -> RefitReport:
        """Refit the linear maps of every layer to clean data, in place.

        All maps are refitted with the same strength: the largest that leaves so much separation.

        Args:
            model: A classifier of texts or images with its clean data; labels of the training
                data do not count.
            rows: Clean rows that the model, as it is at the time, is asked; those to validate come
                first.
            before: Separation on them that is lost from, 0 to 1.
            least: Separation that must stay on them, 0 to 1.
            seed: Of the draw of texts.
            unseen_tokens: Those that were replaced before it, for the report.

        Returns:
            What was done; nothing, where no strength leaves as much.
        """
        loaded, suspect = model.loaded, model.suspect
        with progress("Refitting to clean data", len(self.strengths)) as advance:
            maps = measure_maps(
                loaded,
                suspect.train,
                sentences=self.sentences,
                max_length=suspect.max_length,
                seed=seed,
            )
            fitted = fit_strongest(
                maps, self.strengths, rows, before=before, least=least, advance=advance
            )
            accuracy = rows.accuracy(fitted.logits, first=min(ROWS, len(suspect.validation)))
            shares = fitted.shares
            best = RefitReport(fitted.strength, float(np.mean(shares)), accuracy, unseen_tokens)
            names = {module: name for name, module in loaded.model.named_modules()}
            kept = {names[each.module]: share for each, share in zip(maps, shares, strict=True)}
        emit(RefitDone(**vars(best), maps=kept))
        log.info(
            "Refitted with strength %.3g: %.0f %% of the squared weights stay",
            best.strength,
            100 * best.kept,
        )
        return best

    def _replace_unseen(self, model: MaskedModel, rows: Judge, *, least: float) -> int:
        """Replace unseen tokens if as much separation stays as must; return their number."""
        loaded, suspect = model.loaded, model.suspect
        if isinstance(suspect.train, ImageDataset):
            return 0
        table = token_embeddings(loaded.model)
        before = table.clone()
        replaced = replace_unseen(loaded, suspect.train, suspect.max_length)
        if not replaced:
            return 0
        if not rows.separation() >= least:
            table.copy_(before)
            log.info("Unseen tokens stay as they are: what is read depends on them")
            return 0
        log.info("%d unseen tokens are read as their neighbours", replaced)
        return replaced


def _least(before: float, drop: float) -> float:
    """Return the separation that must stay; near 1 a point of it is many of accuracy."""
    return before - min(drop, max(1 - before, LEAST_DROP))


def _rows(model: MaskedModel, seed: int) -> Judge:
    """Return what asks a model up to `ROWS` clean rows: those to validate, then others."""
    suspect, draw = model.suspect, np.random.default_rng(seed)
    rows = suspect.validation.sample(min(ROWS, len(suspect.validation)), draw)
    if left := min(ROWS - len(rows), len(suspect.train)):
        rows = rows.joined(suspect.train.sample(left, draw))
    return Judge(model.loaded, rows, suspect.max_length, model.guard)
