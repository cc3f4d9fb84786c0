"""Exact generation by a ReLU meta-learner of one prompt number, without its hidden units.

For d = 1 the map z -> W2 relu(w1 z + b1) + b2 is a continuous piecewise-linear curve (notes section 3.6, S3): between
the kinks -b1/w1 it is slope[s] z + offset[s] with tables of at most 2 h + 1 rows. So generating E edges takes one
lookup of the segment and one multiply-add per number, for any h. Backward, with gradients g_e of the weights and

    A_s = sum_{e in s} z_e g_e,      B_s = sum_{e in s} g_e,

dz_e = slope[s_e] . g_e, and every gradient of the meta-learner is a small product of A, B and the table of active
units. The segments "exactly on a kink" are kept apart, because there ReLU has slope zero on both sides' account.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .meta import MetaLearner

_CELLS = 1024  # of the lookup grid; a kink shares its cell with few others
_KINKS_PER_CELL = 4
_CHUNK = 1 << 16  # edges treated at a time, so that what they pass through stays in the cache


def piecewise_works(meta: MetaLearner, z: Tensor) -> bool:
    """Whether `meta` is piecewise linear in one number and z is plain eager data."""
    return (
        meta.activation == "relu"
        and meta.prompt_dim == 1
        and not (meta.dropout and meta.training)
        and not torch.compiler.is_compiling()
        and not torch._C._functorch.is_functorch_wrapped_tensor(z)
        and torch.autograd.forward_ad._current_level < 0
    )


def meta_tensors(meta: MetaLearner) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(w1, b1, W2, b2)."""
    return meta.first.weight, meta.first.bias, meta.second.weight, meta.second.bias


def piecewise_generate(meta: MetaLearner, z: Float[Tensor, "e 1"]) -> Float[Tensor, "e q"]:
    """meta(z), keeping nothing but z for the backward pass."""
    return _Generate.apply(z, *meta_tensors(meta))  # type: ignore[no-any-return]


def plain_generate(z: Tensor, w1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Tensor:
    """The same by its definition, differentiable any number of times."""
    return F.linear(torch.relu(F.linear(z, w1, b1)), W2, b2)


@dataclass(frozen=True)
class Curve:
    """The piecewise-linear curve of a meta-learner: segment 2i lies above the i-th kink, 2i - 1 is that kink."""

    kinks: Float[Tensor, " k"]
    active: Float[Tensor, "s h"]
    slope: Float[Tensor, "s q"]
    offset: Float[Tensor, "s q"]

    @staticmethod
    def of(
        w1: Float[Tensor, "h 1"], b1: Float[Tensor, " h"], W2: Float[Tensor, "q h"], b2: Tensor
    ) -> "Curve":
        """The curve of z -> W2 relu(w1 z + b1) + b2."""
        w = w1[:, 0]
        at = -b1 / w
        finite = torch.isfinite(at)  # w = 0, or so small that the kink is out of reach: the unit is constant
        kinks, rank = torch.unique(at[finite], return_inverse=True)
        segment = torch.arange(2 * len(kinks) + 1, device=w.device)[:, None]
        active = (b1 > 0).expand(len(segment), -1).clone()
        rising = segment >= 2 * (rank + 1)
        falling = segment <= 2 * rank
        active[:, finite] = torch.where(w[finite] > 0, rising, falling)
        units = active.to(w.dtype)
        return Curve(kinks, units, (units * w) @ W2.T, (units * b1) @ W2.T + b2)

    def locate(self, z: Float[Tensor, " e"]) -> Int[Tensor, " e"]:
        """The segment of every z."""
        if z.device.type == "cpu" and z.numel() > 8 * _CELLS:
            found = _locate_on_grid(z, self.kinks)
            if found is not None:
                return found
        below = torch.bucketize(z, self.kinks, right=False, out_int32=True)
        return below + torch.bucketize(z, self.kinks, right=True, out_int32=True)

    def weights(
        self, z: Float[Tensor, " e"], segment: Tensor
    ) -> tuple[Float[Tensor, "e q"], Float[Tensor, "e q"]]:
        """(generated weights, slopes) at z."""
        slope = self.slope.index_select(0, segment)
        return self.offset.index_select(0, segment).addcmul_(slope, z[:, None]), slope


def _locate_on_grid(z: Float[Tensor, " e"], kinks: Float[Tensor, " k"]) -> Int[Tensor, " e"] | None:
    """Segments by a lookup grid: ten times faster than binary search, whose branches the processor cannot predict.

    The cell of a number is a monotone function of it, also in floating point, so kinks in other cells compare as
    their cells do and only those in the same cell are compared with. None where a cell holds too many kinks.
    """
    low, high = torch.aminmax(z)
    scale = _CELLS / (high - low)
    if not bool(torch.isfinite(scale)):  # constant z, NaN or infinities
        return None
    inside = kinks[(kinks >= low) & (kinks <= high)]
    cells = ((inside - low) * scale).long()
    counts = torch.bincount(cells, minlength=_CELLS + 2)
    most = int(counts.max())
    if most > _KINKS_PER_CELL:
        return None
    before = (counts.cumsum(0) - counts + (kinks < low).sum()).int()
    first = torch.arange(len(cells)) - (counts.cumsum(0) - counts)[cells]  # position within the cell
    thresholds = z.new_full((most, _CELLS + 2), torch.inf)
    thresholds[first, cells] = inside
    cell = ((z - low) * scale).int()
    segment = before.index_select(0, cell).mul_(2)
    for row in thresholds:
        kink = row.index_select(0, cell)
        segment.add_(z >= kink).add_(z > kink)
    return segment


class Gradients:
    """Gradients of prompts and meta-learner, gathered block by block from gradients of generated weights."""

    def __init__(self, curve: Curve):
        self.curve = curve
        self.moments = torch.zeros(2, *curve.slope.shape, dtype=curve.slope.dtype, device=curve.slope.device)

    def add(
        self, z: Float[Tensor, " e"], segment: Tensor, slope: Float[Tensor, "e q"], grad: Float[Tensor, "e q"]
    ) -> Float[Tensor, " e"]:
        """Take in one block; returns its dz. `slope` is overwritten."""
        self._sum(z, segment, grad)
        return slope.mul_(grad) @ torch.ones(grad.shape[1], dtype=grad.dtype, device=grad.device)

    def _sum(self, z: Tensor, segment: Tensor, grad: Tensor) -> None:
        n = self.curve.slope.shape[0]
        if grad.device.type != "cpu":  # few segments: atomic sums would collide, so sum by matrix products
            for part in torch.arange(len(z), device=z.device).split(1 << 16):
                hot = F.one_hot(segment[part].long(), n).to(grad.dtype).T
                self.moments[0] += hot @ (grad[part] * z[part, None])
                self.moments[1] += hot @ grad[part]
            return
        small = segment.to(torch.uint8) if n <= 256 else segment
        order = torch.argsort(small, stable=True)  # radix sort
        starts = torch.bincount(segment, minlength=n).cumsum(0).roll(1)
        starts[0] = 0
        self.moments[0] += F.embedding_bag(order, grad, starts, mode="sum", per_sample_weights=z[order])
        self.moments[1] += F.embedding_bag(order, grad, starts, mode="sum")

    def of_meta(
        self, w1: Float[Tensor, "h 1"], b1: Float[Tensor, " h"], W2: Float[Tensor, "q h"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(dw1, db1, dW2, db2)."""
        by_z, by_one = (self.curve.active.T @ moment for moment in self.moments)  # h q
        dW2 = (by_z * w1 + by_one * b1[:, None]).T
        return (by_z * W2.T).sum(1, keepdim=True), (by_one * W2.T).sum(1), dW2, self.moments[1].sum(0)


class _Generate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, w1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Tensor:
        ctx.save_for_backward(z, w1, b1, W2, b2)
        flat, curve = _wide_curve(z, w1, b1, W2, b2)
        out = W2.new_empty(len(flat), W2.shape[0])
        for part, rows in zip(flat.split(_CHUNK), out.split(_CHUNK)):
            rows.copy_(curve.weights(part, curve.locate(part))[0])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors  # read once: checkpoints allow no second time
        if torch.is_grad_enabled():
            return plain_backward(tensors, grads[0], ctx.needs_input_grad)
        z, w1, b1, W2, b2 = tensors
        flat, curve = _wide_curve(z, w1, b1, W2, b2)
        gradients, dz = Gradients(curve), torch.empty_like(flat)
        for part, d_part, grad in zip(flat.split(_CHUNK), dz.split(_CHUNK), grads[0].split(_CHUNK)):
            segment = curve.locate(part)
            slope = curve.slope.index_select(0, segment)
            d_part.copy_(gradients.add(part, segment, slope, grad.to(flat.dtype)))
        found = (dz[:, None], *gradients.of_meta(*(t.to(flat.dtype) for t in (w1, b1, W2))))
        return tuple(g.to(t.dtype) for g, t in zip(found, tensors))


def _wide_curve(z: Tensor, w1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> tuple[Tensor, Curve]:
    """z flat and the curve, at least in float32."""
    wide = torch.promote_types(z.dtype, torch.float32)
    return z[:, 0].to(wide), Curve.of(*(t.to(wide) for t in (w1, b1, W2, b2)))


def plain_backward(
    tensors: tuple[Tensor, ...], grad: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Gradients of `plain_generate`, themselves differentiable."""
    with torch.enable_grad():
        wanted = [t for t, n in zip(tensors, needed) if n]
        found = iter(torch.autograd.grad(plain_generate(*tensors), wanted, grad, create_graph=True))
    return tuple(next(found) if n else None for n in needed)


class PiecewiseProduct(torch.autograd.Function):
    """features @ W(z)^T over blocks of outputs. Features are not kept for the backward pass; weights only if asked."""

    @staticmethod
    def forward(
        ctx: Any,
        recompute: Any,
        rows: list[slice],
        mask: Tensor | None,
        keep: bool,
        x: Tensor,
        features: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        """`recompute(x)` gives `features` (n, i, q) again; `tensors` are z, w1, b1, W2, b2; `mask` is (o, i).

        With `keep` the generated weights wait for the backward pass, where the gradient of the features needs them.
        """
        ctx.recompute, ctx.rows, ctx.mask = recompute, rows, mask
        device = features.device.type
        ctx.compute = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensors[0].dtype
        )
        flat, curve = _wide_curve(*tensors)
        flat_features = features.flatten(1).to(ctx.compute)
        out = flat_features.new_empty(features.shape[0], rows[-1].stop)
        kept = []
        for row, z in zip(rows, _blocks(flat, rows, features.shape[1])):
            weight, _ = curve.weights(z, curve.locate(z))
            block = _flat(weight, row, mask, features.shape[1]).to(ctx.compute)
            out[:, row] = flat_features @ block.T
            if keep and ctx.needs_input_grad[5]:
                kept.append(block)
        ctx.save_for_backward(x, *tensors, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        tensors, kept = tensors[:5], tensors[5:]
        if torch.is_grad_enabled():
            return _plain_product_backward(ctx, x, tuple(tensors), grads[0])
        features = ctx.recompute(x)
        n_in = features.shape[1]
        flat_features = features.flatten(1).to(ctx.compute)
        grad = grads[0].to(ctx.compute)
        z, curve = _wide_curve(*tensors)
        gradients = Gradients(curve)
        want_features, want_meta = ctx.needs_input_grad[5], any(ctx.needs_input_grad[6:])
        d_features = torch.zeros_like(flat_features) if want_features else None
        dz = torch.empty_like(z)
        parts = zip(ctx.rows, _blocks(z, ctx.rows, n_in), _blocks(dz, ctx.rows, n_in))
        for index, (row, part, d_part) in enumerate(parts):
            segment = curve.locate(part)
            if d_features is None:
                slope = curve.slope.index_select(0, segment)
            elif kept:
                slope = curve.slope.index_select(0, segment)
                d_features.addmm_(grad[:, row], kept[index])
            else:
                weight, slope = curve.weights(part, segment)
                d_features.addmm_(grad[:, row], _flat(weight, row, ctx.mask, n_in).to(ctx.compute))
            if want_meta:
                d_weight = (grad[:, row].T @ flat_features).to(z.dtype)
                d_weight = _flat(d_weight.view(len(part), -1), row, ctx.mask, n_in)
                d_part.copy_(gradients.add(part, segment, slope, d_weight.view(len(part), -1)))
        found: tuple[Tensor, ...] = (dz[:, None], *gradients.of_meta(*(t.to(z.dtype) for t in tensors[1:4])))
        return (
            *(None, None, None, None, None),
            None if d_features is None else d_features.view_as(features).to(features.dtype),
            *(g.to(t.dtype) if want_meta else None for g, t in zip(found, tensors)),
        )


def _blocks(z: Tensor, rows: list[slice], n_in: int) -> list[Tensor]:
    return [z[row.start * n_in : row.stop * n_in] for row in rows]


def _flat(weight: Float[Tensor, "e q"], row: slice, mask: Tensor | None, n_in: int) -> Float[Tensor, "o iq"]:
    """(edges of the rows, q) as (rows, i q), pruned edges zero."""
    if mask is not None:
        weight = weight * mask[row].reshape(-1, 1).to(weight.dtype)
    return weight.view(row.stop - row.start, n_in * weight.shape[-1])


def _plain_product_backward(
    ctx: Any, x: Tensor, tensors: tuple[Tensor, ...], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The backward pass in differentiable operations, for second derivatives."""
    features = ctx.recompute(x)
    whole = slice(0, ctx.rows[-1].stop)
    needed = ctx.needs_input_grad
    n, n_in, q = features.shape
    weight = plain_generate(*tensors)
    d_features = (grad @ _flat(weight, whole, ctx.mask, n_in)).view(n, n_in, q) if needed[5] else None
    d_tensors: tuple[Tensor | None, ...] = (None,) * 5
    if any(needed[6:]):
        d_weight = _flat((grad.T @ features.flatten(1)).view(-1, q), whole, ctx.mask, n_in).view(-1, q)
        d_tensors = plain_backward(tensors, d_weight, needed[6:])
    return (None, None, None, None, None, d_features, *d_tensors)
