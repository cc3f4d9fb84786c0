"""Finding the blocks of a network, and recording with what each of them is called.

A block is anything in a list of blocks that takes hidden states first and gives hidden states first. What else it is
called with (masks, rotary positions) is kept, so that it can be called again at other points.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerCall:
    """One call of one block.

    Args:
        x: hidden states that went in.
        y: hidden states that came out.
        block: the block; None for hidden states without their network.
        args: further positional arguments of the call.
        kwargs: its keyword arguments.
    """

    x: Float[Tensor, "b s d"]
    y: Float[Tensor, "b s d"]
    block: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def call(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """What the block makes of other hidden states, everything else as it was."""
        if self.block is None:
            raise ValueError("this needs the blocks: give the module instead of its hidden states")
        return first_tensor(self.block(x, *self.args, **self.kwargs))

    @property
    def depends_on_sample(self) -> bool:
        """Whether the block is called with more than hidden states: such a call cannot be mapped over samples."""
        return any(t is not None for t in (*self.args, *self.kwargs.values()))

    def sample(self, index: int) -> "LayerCall":
        """The call for one sequence of the batch alone."""
        n = len(self.x)
        part = lambda value: _select(value, index, n)  # noqa: E731
        return LayerCall(
            self.x[index : index + 1],
            self.y[index : index + 1],
            self.block,
            tuple(part(a) for a in self.args),
            {name: part(value) for name, value in self.kwargs.items()},
        )

    def to(self, dtype: torch.dtype) -> "LayerCall":
        """The same in another precision; the block is copied, the network keeps its own."""
        block = self.block
        if isinstance(block, nn.Module):
            block = copy.deepcopy(block).to(dtype)
        return LayerCall(
            self.x.to(dtype),
            self.y.to(dtype),
            block,
            tuple(_cast(a, dtype) for a in self.args),
            {name: _cast(value, dtype) for name, value in self.kwargs.items()},
        )


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return type(value)(_cast(v, dtype) for v in value) if type(value) in (tuple, list) else value


def _select(value: Any, index: int, n: int) -> Any:
    if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n:
        return value[index : index + 1]
    return type(value)(_select(v, index, n) for v in value) if type(value) in (tuple, list) else value


def first_tensor(output: Any) -> Tensor:
    """The hidden states in what a block returns: a tensor, or the first entry of a tuple."""
    found = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(found, Tensor):
        raise ValueError(f"a block must return hidden states first, it returned {type(output).__name__}")
    return found


def find_blocks(model: nn.Module, blocks: str | Sequence[nn.Module] | None = None) -> list[nn.Module]:
    """The blocks of a network in order.

    Args:
        model: any network.
        blocks: the blocks themselves, or the dotted name of their list ("model.layers"). If None, `depth_blocks` of the
            network, or its longest list of at least two modules of one class.

    Raises:
        ValueError: if there is no such list, or there are several of that length; say which with `blocks`.
    """
    if isinstance(blocks, str):
        try:
            found = model.get_submodule(blocks)
        except AttributeError as error:
            raise ValueError(f"blocks: {type(model).__name__} has no submodule {blocks!r}") from error
        return list(found.children())
    if blocks is not None:
        if not blocks:
            raise ValueError("blocks is empty: give at least one block")
        return list(blocks)
    own = getattr(model, "depth_blocks", None)
    if own is not None:
        return list(own)
    lists = {
        name: list(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len(module) > 1
        and len({type(child) for child in module}) == 1
    }
    longest = [name for name, found in lists.items() if len(found) == max(map(len, lists.values()))]
    if len(longest) != 1:
        what = (
            f"several lists are equally long ({', '.join(longest)})"
            if longest
            else "there is no list of blocks"
        )
        raise ValueError(
            f"the blocks of {type(model).__name__} cannot be found: {what}; name them with blocks=, a list of modules or "
            "a dotted name such as 'model.layers'"
        )
    return lists[longest[0]]


def record_layers(
    model: nn.Module,
    batch: Tensor | Mapping[str, Any],
    blocks: str | Sequence[nn.Module] | None = None,
    mask: Bool[Tensor, "b s"] | None = None,
) -> tuple[list[LayerCall], Bool[Tensor, "b s"] | None]:
    """Call the network once, and return every call of a block in order, with the mask of tokens that count.

    Raises:
        ValueError: for a network in training mode whose output is random, a padded batch without a mask, no call at all.
    """
    _check_mode(model)
    mask = _checked_mask(model, batch, mask)
    calls: list[LayerCall] = []
    inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.append((args, dict(kwargs)))

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        given, named = inputs.pop()
        x = given[0] if given else named.pop("hidden_states")
        calls.append(LayerCall(x.detach(), first_tensor(output).detach(), module, given[1:], named))

    distinct = {id(block): block for block in find_blocks(model, blocks)}.values()
    handles = [block.register_forward_pre_hook(before, with_kwargs=True) for block in distinct]
    handles += [block.register_forward_hook(after, with_kwargs=True) for block in distinct]
    try:
        with torch.no_grad():
            model(**batch) if isinstance(batch, Mapping) else model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise ValueError(
            f"{type(model).__name__} called none of its blocks: name the right ones with blocks="
        )
    return calls, mask


def _check_mode(model: nn.Module) -> None:
    for name, module in model.named_modules():
        random = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        moving = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if module.training and (random or moving):
            raise ValueError(f"{name} ({type(module).__name__}) is in training mode: call model.eval() first")


def _checked_mask(
    model: nn.Module, batch: Tensor | Mapping[str, Any], mask: Bool[Tensor, "b s"] | None
) -> Bool[Tensor, "b s"] | None:
    """The mask given, or the attention mask of the batch; None where nothing is padded."""
    if isinstance(batch, Mapping):
        if mask is None and batch.get("attention_mask") is not None:
            mask = torch.as_tensor(batch["attention_mask"]).bool()
        tokens = batch.get("input_ids")
    else:
        if not isinstance(batch, Tensor):
            raise ValueError(
                f"batch must be a tensor or a mapping, got {type(batch).__name__}; pad it and give a mask"
            )
        tokens = batch
    pad = getattr(getattr(model, "config", None), "pad_token_id", None)
    if mask is None and pad is not None and tokens is not None and bool((tokens == pad).any()):
        raise ValueError(f"the batch holds the padding token {pad}: give mask= (or attention_mask) with it")
    if mask is not None:
        if tokens is not None and mask.shape != tokens.shape[:2]:
            raise ValueError(f"mask has shape {tuple(mask.shape)}, the batch {tuple(tokens.shape[:2])}")
        if not mask.any():
            raise ValueError("mask hides every token: at least two must count")
        mask = None if bool(mask.all()) else mask
    return mask
