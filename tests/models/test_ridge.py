"""The moments of what linear maps read, and the maps that are fitted to them."""

from dataclasses import replace

import pytest
import torch

from prune_env.models.heads import linear_weight
from prune_env.models.moments import BLOCK, Moments, Spectrum
from prune_env.models.ridge import RidgeMap, measure_maps
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset


def test_small_variances_beside_large_means_survive_low_precision() -> None:
    inputs = 100 + torch.randn(4, 200, 6) * torch.tensor([1.0, 0.5, 0.2, 0.1, 0.1, 0.1])
    fast = Moments(6, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        for part in inputs:
            fast.read(part, None)
    expected = torch.cov(inputs.double().flatten(0, 1).T, correction=0)
    torch.testing.assert_close(fast.covariance()[1], expected, rtol=0, atol=1e-4)


def test_moments_of_any_width_are_those_of_all_columns_at_once() -> None:
    inputs = torch.randn(4, 50, 2 * BLOCK + 3) + 1
    moments = Moments(inputs.shape[2], torch.device("cpu"))
    for part in inputs:
        moments.read(part, None)
    mean, covariance = moments.covariance()
    rows = inputs.double().flatten(0, 1)
    torch.testing.assert_close(mean, rows.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(covariance, torch.cov(rows.T, correction=0), rtol=0, atol=1e-5)


def test_every_map_of_the_layers_is_measured_on_as_many_texts_as_wanted() -> None:
    loaded = tiny_classifier("bert")
    data = tiny_dataset(30, 0)
    few, all_ = (
        measure_maps(loaded, data, sentences=sentences, max_length=128, seed=0)
        for sentences in (5, 1000)
    )
    assert len(few) == len(all_) == 2 * 6  # query, key, value, projection and two of the network
    tokens = sum(len(row) for row in loaded.tokenizer(list(data.texts))["input_ids"])
    assert {each.count for each in all_} == {tokens}
    assert {each.count for each in few} != {tokens}


def test_strength_zero_puts_the_weights_back() -> None:
    loaded = tiny_classifier("bert")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    maps = measure_maps(loaded, tiny_dataset(30, 0), sentences=30, max_length=128, seed=0)
    assert all(each.fit(1.0) < 1 for each in maps)
    assert all(each.fit(0.0) == 1 for each in maps)
    after = loaded.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_maps_that_read_the_same_share_one_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny_classifier("bert")
    made: list[int] = []
    of = Spectrum.of

    def count(moments: Moments, *, centred: bool) -> Spectrum:
        made.append(moments.count)
        return of(moments, centred=centred)

    monkeypatch.setattr(Spectrum, "of", count)
    maps = measure_maps(loaded, tiny_dataset(200, 0), sentences=50, max_length=128, seed=0)
    for each in maps:
        for strength in (0.1, 0.2, 0.3):
            each.fit(strength)
    # Queries, keys and values read one thing; the three maps behind them one each.
    assert (len(maps), len(made)) == (12, 8)
    assert len(set(made)) == 1


def read(inputs: torch.Tensor) -> Moments:
    moments = Moments(inputs.shape[-1], torch.device("cpu"))
    moments.read(inputs, None)
    return moments


def test_a_massive_activation_does_not_count_for_the_strength() -> None:
    torch.manual_seed(0)
    ordinary = torch.randn(400, 10, 24)
    massive = ordinary.clone()
    massive[:, 0, 3] += 3000  # one component of every first token, as in decoders
    module = torch.nn.Linear(24, 5).requires_grad_(False)
    others = torch.arange(24) != 3
    kept = []
    for inputs in (ordinary, massive):
        spectrum = Spectrum.of(read(inputs), centred=True)
        weight, _, _ = RidgeMap(module, spectrum).fitted(0.5)
        kept.append(float(weight[:, others].norm() / module.weight[:, others].norm()))
    assert kept[1] == pytest.approx(kept[0], abs=0.03)


def test_without_a_massive_direction_strengths_are_over_the_mean_variance() -> None:
    torch.manual_seed(0)
    one = torch.outer(torch.randn(50), torch.tensor([3.0, 4.0, 0.0, 0.0]))
    for inputs in (torch.randn(50, 4), one):
        spectrum = Spectrum.of(read(inputs), centred=True)
        variances = spectrum.variances.clone()
        if inputs is one:
            variances[:-1] = 0  # but for rounding
        spectrum = replace(spectrum, variances=variances)
        assert spectrum.scale == variances.mean()


def test_fitted_weights_are_those_that_fit_writes() -> None:
    loaded = tiny_classifier("gpt2")  # whose weights are kept transposed
    maps = measure_maps(loaded, tiny_dataset(30, 0), sentences=30, max_length=128, seed=0)
    for each in maps:
        weight, bias, kept = each.fitted(0.3)
        assert each.fit(0.3) == kept < 1
        assert torch.equal(linear_weight(each.module), weight)
        assert bias is not None
        assert torch.equal(each.module.get_parameter("bias"), bias)


def test_the_seed_draws_the_texts_that_are_measured() -> None:
    loaded, data = tiny_classifier("bert"), tiny_dataset(30, 0)
    one, same, other = (
        measure_maps(loaded, data, sentences=5, max_length=128, seed=seed)[0].fitted(1.0)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_scale_is_over_all_directions_whatever_is_massive() -> None:
    variances = torch.tensor([1.0, 1.0, 1.0, 1000.0])
    assert Spectrum(torch.zeros(4), variances, torch.eye(4), 9).scale == 3 / 4
