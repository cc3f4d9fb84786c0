"""The layer profile: every metric on maps whose answers are known."""

import math

import pytest
import torch
from torch import Tensor, nn

from emergence.models import TinyGPT
from emergence.probe import METRICS, effective_rank, per_token_rms, probe_layers


class Linear(nn.Module):
    def __init__(self, matrix: Tensor):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.mT


class Stack(nn.Module):
    def __init__(self, *matrices: Tensor):
        super().__init__()
        self.blocks = nn.ModuleList(Linear(matrix) for matrix in matrices)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def matrices(*scales: tuple[float, ...]) -> list[Tensor]:
    return [torch.diag(torch.tensor(scale, dtype=torch.float64)) for scale in scales]


def test_every_metric_of_diagonal_maps() -> None:
    """T_0 = diag(3, 1), T_1 = diag(1, 1), T_2 = diag(2, 2)."""
    model = Stack(*matrices((3.0, 1.0), (1.0, 1.0), (2.0, 2.0)))
    x = torch.randn(5, 4, 2, dtype=torch.float64)
    found = probe_layers(model, x, n_points=5, balls=(3,))
    assert found.n_layers == 3
    torch.testing.assert_close(found["sigma"], torch.tensor([3.0, 1.0, 2.0]).double(), rtol=1e-3, atol=0)
    torch.testing.assert_close(found["sigma_median"], found["sigma"], rtol=1e-3, atol=0)
    assert found["relative_update"][1:].tolist() == pytest.approx([0, 1])
    expected = ((2 * x[..., 0]).norm(dim=1) / x.flatten(1).norm(dim=1)).mean()
    assert float(found["relative_update"][0]) == pytest.approx(float(expected))
    assert found["token_cosine"][1:].tolist() == pytest.approx([1, 1])
    assert 1 <= float(found["pair_ratio_min"][0]) <= float(found["pair_ratio_max"][0]) <= 3
    assert found["pair_ratio_median"][1:].tolist() == pytest.approx([1, 2])
    assert found["condensing_3"][1:].tolist() == pytest.approx([1, 2])
    assert found["block_distance"][1].item() == pytest.approx(1)  # ‖2x − x‖ / ‖x‖
    assert math.isnan(found["block_distance"][2])


def test_hidden_states_give_the_same_as_the_network() -> None:
    model = TinyGPT(11, 9, 8, 2, 3, init_std=0.3).double().eval()
    tokens = torch.randint(11, (4, 9))
    whole = probe_layers(model, tokens, balls=(8,))
    alone = probe_layers(model.hidden_states(tokens), balls=(8,))
    assert set(whole.values) - set(alone.values) == {"sigma", "sigma_median", "block_distance"}
    for name, values in alone.values.items():
        torch.testing.assert_close(whole[name], values, rtol=1e-9, atol=1e-12)


def test_sigma_is_per_sequence_and_bounds_the_pairs_it_is_the_limit_of() -> None:
    """The exact Jacobian over all tokens of a sequence, by singular values."""
    model = TinyGPT(11, 9, 8, 2, 2, init_std=0.3).double().eval()
    tokens = torch.randint(11, (3, 5))
    found = probe_layers(model, tokens, ["sigma"])
    states = model.hidden_states(tokens).detach()
    for layer, block in enumerate(model.depth_blocks):
        exact = []
        for i in range(3):
            at = states[layer, i : i + 1]
            jacobian = torch.autograd.functional.jacobian(block, at).reshape(40, 40)
            exact.append(torch.linalg.matrix_norm(jacobian, 2))
        assert float(found["sigma"][layer]) == pytest.approx(float(max(exact)), rel=1e-2)
        assert float(found["sigma"][layer]) <= float(max(exact)) * (1 + 1e-9)


def test_rms_hides_the_growth_of_the_stream() -> None:
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    doubling = Stack(*matrices((2.0,) * 4, (2.0,) * 4))
    raw, normed = (probe_layers(doubling, x, normalize=n, n_points=2, balls=(3,)) for n in ("none", "rms"))
    assert raw["relative_update"].tolist() == pytest.approx([1, 1])
    assert normed["relative_update"].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert raw["sigma"].tolist() == pytest.approx([2, 2], rel=1e-4)
    assert normed["sigma"].tolist() == pytest.approx([1, 1], rel=1e-4)  # the projection that keeps the rms
    torch.testing.assert_close(per_token_rms(x).square().mean(-1), torch.ones(2, 6).double())


def test_masked_tokens_do_not_count() -> None:
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    wild = x.clone()
    wild[:, 4:] = 1e6 * torch.randn(2, 2, 4, dtype=torch.float64)
    mask = torch.arange(6).expand(2, 6) < 4
    model = Stack(*matrices((2.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 3.0)))
    metrics = ["relative_update", "token_cosine", "pair_ratio", "effective_rank", "covering"]
    found = probe_layers(model, wild, metrics, mask=mask, balls=(3,))
    short = probe_layers(model, x[:, :4], metrics, balls=(3,))
    for name in found.values:
        torch.testing.assert_close(found[name], short[name])


def test_equal_tokens_are_skipped_and_counted() -> None:
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    x[:, 4] = x[:, 3] + 1e-12
    noisy = torch.stack([x, 2 * x])
    noisy[1, :, 4] += 1e-6
    found = probe_layers(noisy, metrics=["pair_ratio"])
    assert found.skipped_pairs == 1
    assert found["pair_ratio_max"].item() == pytest.approx(2, rel=1e-4)
    with pytest.raises(ValueError, match="fewer than 2 distinct"):
        probe_layers(torch.ones(2, 1, 5, 3), metrics=["pair_ratio"])


def test_effective_rank_counts_equal_directions() -> None:
    q = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64))[0]
    points = torch.cat([q[:5], -q[:5]])  # centred, five equal singular values
    assert effective_rank(points) == pytest.approx(5)
    assert effective_rank(torch.ones(4, 3)) == 1


def test_profile_as_table_trend_and_picture() -> None:
    model = Stack(*matrices((4.0, 4.0), (3.0, 3.0), (2.0, 2.0)))
    found = probe_layers(model, torch.randn(2, 4, 2, dtype=torch.float64), ["relative_update", "sigma"])
    table = found.to_pandas()
    assert list(table.columns) == ["relative_update", "sigma", "sigma_median"]
    assert table.index.name == "layer"
    assert found.trend("relative_update") == pytest.approx(-1)
    assert found.plot(["sigma"]).png.startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="no metric 'depth' in this profile"):
        found["depth"]


def test_two_probes_agree_to_the_bit() -> None:
    model, tokens = TinyGPT(11, 9, 8, 2, 2).eval(), torch.randint(11, (3, 9))
    first, second = (probe_layers(model, tokens, ["sigma", "covering"], balls=(8,)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["depth"]}, f"unknown metric 'depth'; known: {', '.join(METRICS)}"),
        ({"normalize": "max"}, "normalize must be one of none, rms, got 'max'"),
        ({"dtype": torch.bfloat16}, "dtype must be float32 or float64, got torch.bfloat16"),
        ({"n_points": 0}, "n_points must be at least 1, got 0"),
        ({"metrics": ["sigma"]}, "metric 'sigma' needs the blocks"),
    ],
)
def test_bad_arguments_are_named(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        probe_layers(torch.randn(3, 1, 4, 2), **options)


def test_bad_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(L \+ 1, b, s, d\)"):
        probe_layers(torch.randn(3, 4, 2))
    broken = torch.randn(3, 1, 4, 2)
    broken[2, 0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="the hidden states at block 1 are not finite"):
        probe_layers(broken)
    with pytest.raises(ValueError, match="batch is None"):
        probe_layers(Stack(*matrices((1.0,), (1.0,))))
