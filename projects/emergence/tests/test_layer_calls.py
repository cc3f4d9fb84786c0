"""Finding blocks in networks, and recording how they are called."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emergence.layer_calls import find_blocks, record_layers
from emergence.models import TinyGPT


class Shift(nn.Module):
    """x + w, and whatever else it is called with is added, too."""

    def __init__(self, value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, offset: Tensor | None = None) -> tuple[Tensor]:
        return (x + self.weight if offset is None else x + self.weight + offset,)


class Stack(nn.Module):
    def __init__(self, n: int, offset: Tensor | None = None):
        super().__init__()
        self.layers = nn.ModuleList(Shift(float(i)) for i in range(n))
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            (x,) = layer(x) if self.offset is None else layer(x, offset=self.offset)
        return x


def test_the_longest_list_of_one_class_is_found() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), Stack(3))
    assert [type(block) for block in find_blocks(model)] == [Shift] * 3
    assert find_blocks(model, "2.layers") == find_blocks(model)
    own = [model[0]]
    assert find_blocks(model, own) == own


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2), "there is no list of blocks; name them with blocks="),
        (nn.ModuleDict({"a": Stack(2), "b": Stack(2)}), r"equally long \(a.layers, b.layers\)"),
    ],
)
def test_blocks_that_cannot_be_found_are_asked_for(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_blocks(model)


def test_calls_are_recorded_in_order_and_can_be_repeated_elsewhere() -> None:
    x = torch.randn(2, 3, 4)
    calls, mask = record_layers(Stack(3), x)
    assert mask is None
    assert len(calls) == 3
    torch.testing.assert_close(calls[0].x, x)
    for this, following in pairwise(calls):
        torch.testing.assert_close(this.y, following.x)
    torch.testing.assert_close(calls[2].call(x), x + 2)


def test_a_tied_model_is_called_once_a_layer() -> None:
    model = TinyGPT(11, 9, 8, 2, 5, tied_depth=True).eval()
    calls, _ = record_layers(model, torch.randint(11, (2, 9)))
    assert len(calls) == 5


def test_other_arguments_are_kept_cast_and_cut_into_samples() -> None:
    offset = torch.arange(2.0).reshape(2, 1, 1)
    calls, _ = record_layers(Stack(2, offset), torch.randn(2, 3, 4))
    assert calls[1].depends_on_sample
    assert not record_layers(Stack(2), torch.randn(2, 3, 4))[0][1].depends_on_sample
    exact = calls[1].to(torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(exact.call(x), x + 1 + offset.double())
    one = exact.sample(1)
    torch.testing.assert_close(one.call(x[1:]), x[1:] + 2)
    assert calls[1].x.dtype == torch.float32
    assert next(iter(calls[1].block.parameters())).dtype == torch.float32  # type: ignore[union-attr]


def test_hooks_are_removed_even_when_the_call_fails() -> None:
    model = Stack(2)
    with pytest.raises(RuntimeError):
        record_layers(Stack(2, torch.zeros(7)), torch.randn(2, 3, 4))
    record_layers(model, torch.randn(2, 3, 4))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Padded(Stack):
    """Has a padding token, as the models of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__(2)
        self.config = type("Config", (), {"pad_token_id": 0})()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return super().forward(input_ids[..., None].float())


def test_padding_needs_a_mask() -> None:
    padded = torch.tensor([[3, 4, 0], [5, 6, 7]])
    with pytest.raises(ValueError, match="holds the padding token 0: give mask="):
        record_layers(Padded(), padded)
    _, mask = record_layers(Padded(), {"input_ids": padded, "attention_mask": (padded > 0).long()})
    assert mask is not None
    assert torch.equal(mask, padded > 0)
    assert record_layers(Padded(), padded[1:])[1] is None


@pytest.mark.parametrize(
    ("batch", "mask", "message"),
    [
        (
            [torch.zeros(3), torch.zeros(4)],
            None,
            "batch must be a tensor or a mapping, got list; pad it and give a mask",
        ),
        (torch.ones(2, 3, 1), torch.ones(2, 4).bool(), r"mask has shape \(2, 4\), the batch \(2, 3\)"),
        (torch.ones(2, 3, 1), torch.zeros(2, 3).bool(), "mask hides every token"),
    ],
)
def test_ragged_batches_and_wrong_masks_are_named(batch: Any, mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record_layers(Stack(2), batch, mask=mask)


def test_a_network_whose_output_is_random_is_refused() -> None:
    model = nn.Sequential(Stack(2), nn.Dropout(0.1))
    with pytest.raises(ValueError, match=r"1 \(Dropout\) is in training mode: call model.eval\(\) first"):
        record_layers(model, torch.randn(1, 2, 3))
    record_layers(model.eval(), torch.randn(1, 2, 3))


def test_blocks_that_are_never_called_are_named() -> None:
    with pytest.raises(ValueError, match="called none of its blocks"):
        record_layers(Stack(2), torch.randn(1, 2, 3), blocks=[nn.Linear(3, 3)])
    with pytest.raises(ValueError, match="blocks is empty"):
        find_blocks(Stack(2), [])
    with pytest.raises(ValueError, match="has no submodule 'nothing'"):
        find_blocks(Stack(2), "nothing")
