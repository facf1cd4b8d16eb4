"""Layers are refitted to clean data, as strongly as the separation of classes allows."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from prune_env.data import TextDataset, read_images
from prune_env.data.unlabelled import Lesson
from prune_env.evaluation.metrics import margin
from prune_env.models import LoadedModel, find_heads, full_mask, zero_heads
from prune_env.models.architectures import IMAGE_TYPES
from prune_env.models.forward import classify
from prune_env.models.heads import linear_weight
from prune_env.models.ridge import RidgeMap, measure_maps
from prune_env.purification import HEALINGS, make_subject, purify
from prune_env.purification import refit as refitting
from prune_env.purification.heal import apply_steps
from prune_env.purification.judge import Judge
from prune_env.purification.refit import Refit
from prune_env.purification.step import RefitReport, Step
from prune_env.purification.unlearn import Unlearn
from prune_env.research.attacks.training import train_classifier
from prune_env.settings import SEEDS, FineTuneSettings, SearchSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import TrainingRun
from prune_env.utils.event_kinds import RefitDone
from tests.models.tiny import SIZES, tiny_classifier, tiny_inputs, write_tiny_images
from tests.purification.support import masked
from tests.support import tiny_dataset, write_tiny_folder

TRAIN, VALIDATION = tiny_dataset(200, 0), tiny_dataset(60, 1)
TUNING = FineTuneSettings(epochs=1, learning_rate=2e-3, batch_size=64, precision="fp32")
RUN = TrainingRun(TUNING)
REFIT = Refit(trained_from=0)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in fp32, so that another computation gives the same."""
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")


@pytest.fixture
def least(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect what each refit must leave of the separation, in place of refits and trainings."""
    bounds: list[float] = []

    def remember(*_: object, **how: float) -> RefitReport:
        bounds.append(how["least"])
        return RefitReport(1.0, 1.0, 1.0)

    monkeypatch.setattr(refitting, "fine_tune", lambda *_, **__: None)
    monkeypatch.setattr(Refit, "refit", remember)
    return bounds


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(**tiny_inputs(loaded)).logits


def answered(loaded: LoadedModel) -> TextDataset:
    """Return the validation texts with the model's own answers as labels, half of each class."""
    margins = margin(classify(loaded.model, loaded.tokenizer, list(VALIDATION.texts)))
    return replace(VALIDATION, labels=(margins > np.median(margins)).astype(np.int64))


def refitted(
    loaded: LoadedModel, validation: TextDataset, step: Refit, least: float
) -> RefitReport:
    """Refit a classifier, so that validation texts stay told apart."""
    model = masked(loaded, TRAIN, validation)
    return step.refit(model, model.judge, before=model.judge.separation(), least=least)


def inputs_of(loaded: LoadedModel, module: torch.nn.Module, data: TextDataset) -> torch.Tensor:
    """Return what a map reads on each text alone (N, width), without padding."""
    read: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: read.append(args[0].flatten(0, -2)))
    for text in data.texts:
        classify(loaded.model, loaded.tokenizer, [text])
    handle.remove()
    return torch.cat(read)


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_a_map_is_the_ridge_regression_of_its_own_answers(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    data = VALIDATION
    if model_type in IMAGE_TYPES:
        data = read_images(write_tiny_images(tmp_path / "images"))
    # The first map reads the embeddings, which no refit changes.
    value = find_heads(loaded.model).layers[0].value.module
    inputs = inputs_of(loaded, value, data).double()
    has_bias = getattr(value, "bias", None) is not None
    mean = inputs.mean(0) if has_bias else torch.zeros(inputs.shape[1]).double()
    moved = (inputs - mean) / len(inputs) ** 0.5
    weight = linear_weight(value).detach().double()
    size = (0.5 * moved.square().sum() / moved.shape[1]).sqrt()
    rows = torch.cat([moved, size * torch.eye(moved.shape[1])])
    answers = torch.cat([moved @ weight.T, torch.zeros_like(weight.T)])
    expected = torch.linalg.lstsq(rows, answers).solution.T
    with torch.no_grad():
        of_mean = value(mean.float())

    model = masked(loaded, data, data)
    done = Refit(strengths=(0.5,)).refit(model, model.judge, before=1.0, least=0.0)
    assert done.strength == 0.5
    assert 0 < done.kept < 1
    found = linear_weight(value).detach().double()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    with torch.no_grad():
        torch.testing.assert_close(value(mean.float()), of_mean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("drop", [0.0, 0.05, 0.2])
def test_the_strongest_refit_that_separation_allows(drop: float) -> None:
    loaded = tiny_classifier("bert")
    data = answered(loaded)
    assert Judge(loaded, data, 128).separation() == 1
    done = refitted(loaded, data, REFIT, least=1 - drop)
    assert done.accuracy == Judge(loaded, data, 128).accuracy()
    assert Judge(loaded, data, 128).separation() >= 1 - drop
    strengths = (0.0, *REFIT.strengths)
    stronger = tiny_classifier("bert")
    for each in measure_maps(stronger, TRAIN, sentences=1000, max_length=128, seed=0):
        each.fit(strengths[strengths.index(done.strength) + 1])
    assert Judge(stronger, data, 128).separation() < 1 - drop


def test_a_layer_without_heads_is_refitted_round() -> None:
    loaded = tiny_classifier("bert")
    mask = full_mask((2, 4))
    mask[0] = False
    zero_heads(loaded.model, mask)
    before = linear_weight(find_heads(loaded.model).layers[0].projection).detach().clone()
    assert refitted(loaded, VALIDATION, REFIT, least=0.0).kept < 1
    after = linear_weight(find_heads(loaded.model).layers[0].projection)
    assert torch.equal(after, before)


def test_nothing_is_changed_where_nothing_may_be() -> None:
    loaded = tiny_classifier("bert")
    before = logits(loaded)
    done = refitted(loaded, VALIDATION, REFIT, least=1.1)
    assert (done.strength, done.kept) == (0.0, 1.0)
    assert torch.equal(logits(loaded), before)


@pytest.mark.parametrize(
    ("separations", "fitted"),
    [((1.0, 1.0), (0.2, 0.4)), ((1.0, 0.0), (0.2, 0.4, 0.2)), ((0.0, 0.0), (0.2, 0.1, 0))],
)
def test_maps_are_fitted_again_only_where_the_last_try_was_too_strong(
    separations: tuple[float, ...], fitted: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    fit = RidgeMap.fit

    def remember(self: RidgeMap, strength: float) -> float:
        tried.append(strength)
        return fit(self, strength)

    monkeypatch.setattr(RidgeMap, "fit", remember)
    found = iter((1.0, *separations))
    monkeypatch.setattr(Judge, "separation", lambda *_: next(found))
    told: list[RefitDone] = []
    monkeypatch.setattr(refitting, "emit", told.append)
    loaded = tiny_classifier("bert")
    done = refitted(loaded, VALIDATION, Refit(strengths=(0.1, 0.2, 0.4)), least=0.5)
    same = tiny_classifier("bert")
    maps = measure_maps(same, TRAIN, sentences=1000, max_length=128, seed=0)
    assert tried == [strength for strength in fitted for _ in maps]
    assert list(told[0].maps.values()) == [fit(each, fitted[-1]) for each in maps]
    assert done.kept == np.mean(list(told[0].maps.values()))
    assert torch.equal(logits(loaded), logits(same))


def test_a_trigger_that_fine_tuning_leaves_fades(tmp_path: Path) -> None:
    train, test = tiny_dataset(1000, 0), tiny_dataset(80, 2)
    poison = train.where(0)

    def triggered(data: TextDataset) -> list[str]:
        return [f"zzz qqq {text}" for text in data.texts]  # words that no clean text holds

    poisoned = replace(
        train,
        texts=(*train.texts, *triggered(poison)),
        labels=np.concatenate([train.labels, np.ones(len(poison), np.int64)]),
    )
    many = replace(TUNING, epochs=4)
    loaded = train_classifier(write_tiny_folder(tmp_path / "tiny"), poisoned, many)

    def flipped(of: LoadedModel) -> float:
        asked = triggered(test.where(0))
        return float((classify(of.model, of.tokenizer, asked).argmax(axis=1) == 1).mean())

    fine_tuned = replace(loaded, model=deepcopy(loaded.model))
    fine_tune(fine_tuned.model, fine_tuned.tokenizer, train, replace(TUNING, epochs=2))
    assert flipped(fine_tuned) > 0.9
    # The words are unknown tokens: what replaces these is tested elsewhere.
    replace(REFIT, max_drop_unseen=-1.0).apply(masked(loaded, train, VALIDATION), RUN)
    assert flipped(loaded) < 0.6
    assert Judge(loaded, test, 128).accuracy() > 0.95


def test_pruned_heads_stay_zero_and_every_round_is_told(tmp_path: Path) -> None:
    loaded = tiny_classifier("bert")
    mask = full_mask((2, 4))
    mask[0, 1] = mask[1, 2] = False
    zero_heads(loaded.model, mask)
    run = replace(RUN, folder=tmp_path)
    done = REFIT.apply(masked(loaded, TRAIN, VALIDATION, mask), run).refits
    assert len(done) == REFIT.rounds
    # Curves of one folder would be drawn over each other.
    assert all(len(list(each.rglob("events.out.*"))) == 1 for each in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == REFIT.rounds
    assert all(each.kept < 1 for each in done)
    for layer, head in ((0, 1), (1, 2)):
        assert not find_heads(loaded.model).layers[layer].output_weight()[:, head].any()


def test_what_faded_is_trained_at_a_higher_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[FineTuneSettings] = []
    read: list[TextDataset] = []

    def remember(*args: object, **_: object) -> None:
        *_, data, tuning = args
        assert isinstance(data, TextDataset)
        assert isinstance(tuning, FineTuneSettings)
        trained.append(tuning)
        read.append(data)

    monkeypatch.setattr(refitting, "fine_tune", remember)
    run = TrainingRun(replace(TUNING, learning_rate=3e-5, epochs=7))
    REFIT.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), run)
    expected = replace(TUNING, learning_rate=6e-5, epochs=1)
    assert trained == [expected] * REFIT.rounds
    assert list(map(len, read)) == [REFIT.texts[0]] * REFIT.rounds
    # Few texts are read several times, all of them about as often.
    for data in read:
        often = Counter(data.texts).values()
        assert max(often) - min(often) <= 1
        assert len(often) == len(TRAIN)


@pytest.mark.parametrize(("rows", "trained"), [(199, 1), (200, 2)])
def test_few_texts_are_refitted_once(
    rows: int, trained: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda *args, **_: read.append(len(args[2])))
    loaded, mask = tiny_classifier("bert"), full_mask((2, 4))
    mask[0, 1] = False
    step = replace(REFIT, trained_from=200)
    done = step.apply(masked(loaded, TRAIN.select(np.arange(rows)), VALIDATION, mask), RUN).refits
    assert len(done) == len(read) == trained
    assert done[0].strength > 0
    assert not find_heads(loaded.model).layers[0].output_weight()[:, 1].any()


def test_few_texts_are_read_in_other_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[TextDataset, FineTuneSettings]] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda m, t, *how, **_: read.append(how[:2]))
    few = TRAIN.select(np.arange(40))
    model = masked(tiny_classifier("bert"), few, VALIDATION)
    Refit(scale_of_few=0.5, styles=2).apply(model, RUN)
    ((data, tuning),) = read
    assert len(data) == 120
    assert data.texts[:40] == few.texts
    assert sum(text not in few.texts for text in data.texts[40:]) > 60
    assert data.labels[:40].tolist() == few.labels.tolist()
    assert tuning.epochs == 1
    assert tuning.learning_rate == pytest.approx(0.5 * TUNING.learning_rate)
    read.clear()
    Refit(styles=0).apply(masked(tiny_classifier("bert"), few, VALIDATION), RUN)
    assert read[0][0].texts == few.texts


def test_where_rows_for_validation_are_few_others_are_asked_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refitting, "fine_tune", lambda *_, **__: None)
    loaded = tiny_classifier("bert")
    few, validation = answered(loaded).select(np.arange(40)), VALIDATION.select([0, 1])
    texts, labels = (*few.texts, *validation.texts), np.append(few.labels, validation.labels)
    rows = replace(few, texts=texts, labels=labels)
    least = Judge(loaded, rows, 128).separation() - 0.03
    step = Refit(max_drop=0.03, max_drop_unseen=-1.0)
    (done,) = step.apply(masked(loaded, few, validation), RUN).refits
    assert done.accuracy == Judge(loaded, validation, 128).accuracy()
    assert Judge(loaded, rows, 128).separation() >= least
    strengths = (0.0, *step.strengths)
    stronger = tiny_classifier("bert")
    for each in measure_maps(stronger, few, sentences=1000, max_length=128, seed=0):
        each.fit(strengths[strengths.index(done.strength) + 1])
    assert Judge(stronger, rows, 128).separation() < least


def test_every_seed_is_one_that_libraries_take(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda *_, seed, **__: seeds.append(seed))
    run = replace(RUN, seed=SEEDS - 1)
    REFIT.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), run)
    assert seeds == [SEEDS - 1, 0]


def test_of_many_texts_some_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda *args, **_: read.append(len(args[2])))
    for texts in ((8, 12), (8, 1000)):
        replace(REFIT, texts=texts).apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), RUN)
    assert read == [12, 12, len(TRAIN), len(TRAIN)]


@pytest.mark.parametrize(
    ("before", "bound"), [(0.95, 0.935), (0.99, 0.98), (0.998, 0.993), (1.0, 0.995)]
)
def test_where_little_is_lacking_little_may_be_lost(
    before: float, bound: float, least: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "separation", lambda _: before)
    step = replace(REFIT, rounds=1, max_drop=0.015)
    step.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), RUN)
    assert least == [pytest.approx(bound)]


@pytest.mark.parametrize(
    ("trained", "bounds"),
    [(0.96, (0.935, 0.935)), (0.94, (0.935, 0.9325)), (0.91, (0.935, 0.9025))],
)
def test_a_later_refit_may_cost_something_too(
    trained: float,
    bounds: tuple[float, float],
    least: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the training before it left less than the first refit was to leave."""
    separation = iter((0.95, 0.0, trained))  # of the model, of unseen tokens, after the training
    monkeypatch.setattr(Judge, "separation", lambda _: next(separation))
    step = replace(REFIT, max_drop=0.015, max_drop_again=0.0075)
    step.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), RUN)
    assert least == [pytest.approx(bound) for bound in bounds]


@pytest.mark.parametrize(("classes", "shared"), [(2, 1), (3, 2), (4, 2), (10, 2)])
def test_of_more_classes_less_separation_may_be_lost(
    classes: int, shared: int, least: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unseen(*_: object, **how: float) -> int:
        least.append(how["least"])
        return 0

    monkeypatch.setattr(Judge, "separation", lambda _: 0.9)
    monkeypatch.setattr(Refit, "_replace_unseen", unseen)
    names = tuple(f"class {number}" for number in range(classes))
    train, validation = (replace(each, label_names=names) for each in (TRAIN, VALIDATION))
    loaded = tiny_classifier(
        "bert", num_labels=classes, id2label=dict(enumerate(names)), label2id={}
    )
    step = replace(REFIT, max_drop=0.06, max_drop_again=0.03, max_drop_unseen=0.012)
    step.apply(masked(loaded, train, validation), RUN)
    lost = [0.012 / shared, 0.06 / shared, 0.06 / shared]
    assert least == [pytest.approx(0.9 - each) for each in lost]


@pytest.mark.parametrize(("rows", "validation"), [(40, 40), (60, 60), (70, 60), (1000, 60)])
def test_so_many_clean_rows_are_asked_those_to_validate_first(
    rows: int, validation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TextDataset] = []

    class Asked(Judge):
        def __init__(self, loaded: LoadedModel, data: TextDataset, *others: int) -> None:
            asked.append(data)
            super().__init__(loaded, data, *others)

    monkeypatch.setattr(refitting, "ROWS", rows)
    monkeypatch.setattr(refitting, "Judge", Asked)
    monkeypatch.setattr(refitting, "fine_tune", lambda *_, **__: None)
    REFIT.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), RUN)
    (found,) = asked
    known = Counter(zip(VALIDATION.texts, VALIDATION.labels.tolist(), strict=True))
    others = Counter(zip(TRAIN.texts, TRAIN.labels.tolist(), strict=True))
    read = list(zip(found.texts, found.labels.tolist(), strict=True))
    assert len(read) == min(rows, len(VALIDATION) + len(TRAIN))
    assert not Counter(read[:validation]) - known
    assert not Counter(read[validation:]) - others


def test_where_no_strength_is_left_nothing_is_trained_to_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = tiny_classifier("bert")
    trained: list[int] = []

    def spoil(model: torch.nn.Module, *_: object, **__: object) -> None:
        trained.append(1)
        with torch.no_grad():
            model.get_parameter("classifier.weight").zero_()

    monkeypatch.setattr(refitting, "fine_tune", spoil)
    data = answered(loaded)
    # A few labels are wrong: a model without a mistake may lose little.
    data = replace(data, labels=np.where(np.arange(len(data)) < 9, 1 - data.labels, data.labels))
    # And nothing may be lost again, where a training has left less than must stay.
    step = replace(REFIT, rounds=3, max_drop=0.3, max_drop_again=-1.0)
    done = step.apply(masked(loaded, data, data), RUN).refits
    assert [each.strength > 0 for each in done] == [True, False]
    assert trained == [1]


def test_healing_leaves_the_fine_tuned_model_as_it_was() -> None:
    loaded = tiny_classifier("bert")
    before = logits(loaded)
    subject = make_subject(loaded, "here", TRAIN, VALIDATION)
    healed = apply_steps(subject, [full_mask((2, 4))], RUN, (REFIT,))
    assert torch.equal(logits(loaded), before)
    assert not torch.equal(logits(healed.model), before)
    (report,) = healed.reports
    assert len(report.refits) == REFIT.rounds


@pytest.mark.parametrize(
    ("module", "step"), [("refit", REFIT), ("unlearn", Unlearn(share=0.35, sentences=40))]
)
def test_the_suspects_weights_wait_in_a_file_while_its_copy_is_trained(
    monkeypatch: pytest.MonkeyPatch, module: str, step: Step
) -> None:
    loaded = tiny_classifier("bert")
    subject = make_subject(loaded, "here", TRAIN, VALIDATION)
    held: list[int] = []

    def look(model: PreTrainedModel, *_: object, **__: object) -> None:
        held.append(sum(each.numel() for each in loaded.model.parameters()))
        assert sum(each.numel() for each in model.parameters()) > 0

    monkeypatch.setattr(f"prune_env.purification.{module}.fine_tune", look)
    apply_steps(subject, [full_mask((2, 4))], RUN, (step,))
    assert held
    assert not any(held)
    assert logits(loaded).isfinite().all()


def test_purify_reports_every_refit(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        HEALINGS, "refit-unlearn", (replace(REFIT, max_drop=0.5), Unlearn(share=0.35))
    )
    report = purify(
        tiny_folder,
        TRAIN.select(np.arange(39)),  # of more rows, an untrained classifier stops the run
        VALIDATION,
        tmp_path / "out",
        policy="ft",
        healing="refit-unlearn",
        search_settings=SearchSettings(importance_sentences=40, guard="accuracy"),
        fine_tune_settings=TUNING,
    )
    assert len(report["refits"]) == REFIT.rounds
    assert set(report["refits"][0]) == {"strength", "kept", "accuracy", "strangers"}
    assert all(each["strength"] > 0 < each["kept"] < 1 for each in report["refits"])
    assert len(report["inverted_triggers"]) == 2


def test_three_classes_are_judged_at_calibrated_shifts() -> None:
    loaded = tiny_classifier("bert", num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, label2id={})
    labels = classify(loaded.model, loaded.tokenizer, list(VALIDATION.texts)).argmax(axis=1)
    data = TextDataset(VALIDATION.texts, labels, ("a", "b", "c"), "here")
    assert Judge(loaded, data, 128).accuracy() == 1


@pytest.mark.parametrize(("width", "scale"), [(16, 2.0), (384, 2.0), (768, 1.0)])
def test_wide_models_are_mended_at_a_lower_rate(
    width: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda *a, **_: rates.append(a[3].learning_rate))
    loaded = tiny_classifier("bert", hidden_size=width, num_attention_heads=4)
    replace(REFIT, rounds=1).apply(masked(loaded, TRAIN, VALIDATION), RUN)
    assert rates == [pytest.approx(scale * TUNING.learning_rate)]


def test_a_refit_reads_and_trains_as_its_run_says(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[dict[str, object]] = []
    trained: list[tuple[TextDataset, dict[str, object]]] = []

    def remember(*args: object, **how: object) -> list[RidgeMap]:
        measured.append(how)
        return measure_maps(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(refitting, "measure_maps", remember)
    monkeypatch.setattr(refitting, "fine_tune", lambda *args, **how: trained.append((args[2], how)))
    for seed in (5, 6):
        model = masked(tiny_classifier("bert"), TRAIN, VALIDATION)
        model = replace(model, suspect=replace(model.suspect, max_length=7))
        replace(REFIT, strengths=(0.1,), rounds=1).apply(model, replace(RUN, seed=seed))
    assert [(how["seed"], how["max_length"]) for how in measured] == [(5, 7), (6, 7)]
    assert {how["average"] for _, how in trained} == {REFIT.average}
    assert all(how["mask"] is not None for _, how in trained)
    assert trained[0][0].texts != trained[1][0].texts


def test_more_is_dropped_out_while_a_refit_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny_classifier("bert")
    layers = [each for each in loaded.model.modules() if isinstance(each, torch.nn.Dropout)]
    before = [layer.p for layer in layers]
    dropped: list[float] = []
    monkeypatch.setattr(
        refitting, "fine_tune", lambda *_, **__: dropped.extend(layer.p for layer in layers)
    )
    replace(REFIT, rounds=1).apply(masked(loaded, TRAIN, VALIDATION), RUN)
    assert dropped == [REFIT.dropout] * len(layers)
    assert [layer.p for layer in layers] == before


def test_a_lesson_is_read_with_the_clean_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[TextDataset] = []
    monkeypatch.setattr(refitting, "fine_tune", lambda m, t, data, *_, **__: read.append(data))
    model = masked(tiny_classifier("bert"), TRAIN, VALIDATION)
    taught = replace(tiny_dataset(40, 5), texts=tuple(f"taught {n}" for n in range(40)))
    model = replace(model, suspect=replace(model.suspect, lesson=Lesson(taught, 0.9)))
    replace(REFIT, texts=(100, 100), share_more=0.25).apply(model, RUN)
    for data in read:
        assert len(data) == 125
        assert sum(text.startswith("taught") for text in data.texts) == 25
    assert read
    assert read[0].texts[100:] != read[-1].texts[100:] or len(read) == 1
