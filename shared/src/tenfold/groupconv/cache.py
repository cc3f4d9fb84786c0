"""Dense weights assembled from few parameters, remembered in eval mode as long as nothing they depend on has changed."""

import contextlib
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# `torch.amp.is_autocast_available` would say it too, but torch 2.11 cannot compile a call of it.
_AUTOCAST_DEVICES = frozenset({"cpu", "cuda", "hpu", "mps", "xpu"})


class _Entry(NamedTuple):
    sources: tuple[Tensor, ...]  # copies of what the dense weight was made from
    dense: Tensor


class DenseWeightModule(nn.Module):
    """Base of the layers that expand `self.weight` to a dense weight and hand it to an ordinary torch operator.

    Subclasses give `_sources` (the tensors the dense weight depends on) and `_assemble`.

    The dense weight is reused in eval mode on the CPU when autograd needs no gradient for the sources. It cannot be
    stale: it is reused only if every source still has the *values* it was made from, which also sees what version
    counters miss (`weight.data.mul_()`, memory used again). Comparing costs |G| times less than assembling. On other
    devices comparing would wait for the device, so there the weight is assembled at every call, as it is under
    `torch.compile` and `torch.export`, where it becomes part of the graph. It is in no checkpoint and no pickle.
    """

    weight: nn.Parameter
    _entry: _Entry | None = None

    def _sources(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _assemble(self, *sources: Tensor) -> Tensor:
        raise NotImplementedError

    def dense_weight(self) -> Tensor:
        """The weight of the ordinary layer that this layer equals: a new tensor, differentiable with respect to `weight`."""
        return self._assemble_in_full_precision(self._sources())

    def _dense_weight(self) -> Tensor:
        """`dense_weight` for reading only, remembered where that is possible."""
        sources = self._sources()
        if not self._may_remember(sources):
            if self._entry is not None:
                self._entry = None
            return self._assemble_in_full_precision(sources)
        entry = self._entry
        if entry is None or not all(map(_equal, entry.sources, sources)):
            # Made outside inference mode, so that it also serves calls outside it.
            with torch.inference_mode(False), torch.no_grad():
                copies = tuple(source.detach().clone() for source in sources)
                entry = _Entry(copies, self._assemble_in_full_precision(copies))
            self._entry = entry
        return entry.dense

    def _may_remember(self, sources: tuple[Tensor, ...]) -> bool:
        return (
            not self.training
            and not torch.compiler.is_compiling()
            and isinstance(self.weight, nn.Parameter)  # not while torch.func puts other tensors in its place
            and not (torch.is_grad_enabled() and any(source.requires_grad for source in sources))
            and all(source.device.type == "cpu" for source in sources)
        )

    def _assemble_in_full_precision(self, sources: tuple[Tensor, ...]) -> Tensor:
        device = sources[0].device.type
        autocast = device in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if autocast else contextlib.nullcontext():
            return self._assemble(*sources)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_entry", None)
        return state


def _equal(old: Tensor, new: Tensor) -> bool:
    return old.dtype == new.dtype and old.device == new.device and torch.equal(old, new)
