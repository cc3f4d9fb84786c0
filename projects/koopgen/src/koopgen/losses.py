"""The loss of §3.6: multi-step prediction, linearity of the latent motion, reconstruction, in a Sobolev distance.

    D(U, V) = mean over the batch of ‖w (Û − V̂)‖₂ / ‖w V̂‖₂,   w = √(1 + κ² [k ≥ 1] + κ⁴ [k ≥ 2])

Û is the orthonormal Fourier transform over time (`dims="time"`), or over time and channels (`dims="space-time"`, for
fields on a periodic grid), κ² the sum of the squared mode numbers of the transformed axes.
"""

import math
import warnings
from collections import deque
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Dims = Literal["time", "space-time"]
Boundary = Literal["periodic", "detrend", "even"]
Window = Float[Tensor, "B T channels"]


def sobolev_distance(
    u: Window,
    v: Window,
    order: int = 1,
    dims: Dims = "time",
    relative: bool = True,
    boundary: Boundary = "periodic",
    eps: float = 1e-6,
) -> Float[Tensor, ""]:
    """Sobolev distance H^k of windows, averaged over the batch (§3.6).

    The transform takes a window for one period. Where it does not end as it began, the jump weighs on the high
    modes (§10.7b): `boundary="detrend"` measures the line from the first to the last sample apart, without weight,
    and transforms the rest; `"even"` continues the window by its mirror image (a cosine transform).

    Args:
        u: prediction.
        v: target; gradients flow through both.
        order: k, 0, 1 or 2.
        dims: "time" or "space-time".
        relative: divide by the norm of the target. An output of zero then costs exactly 1.
        boundary: "periodic" as in the paper, "detrend" or "even".
        eps: least norm to divide by, so that an all-zero target gives a number.

    Raises:
        ValueError: unknown options, different shapes, or fewer than 4 samples with k ≥ 1.

    Example:
        >>> v = torch.randn(3, 8, 2)
        >>> sobolev_distance(torch.zeros_like(v), v).round(decimals=5)
        tensor(1.)
    """
    _check(u, v, order, dims, boundary)
    u, v = (x if x.dtype == torch.float64 else x.float() for x in (u, v))
    with torch.autocast(u.device.type, enabled=False):  # half precision would lose what high modes have
        distance = _norm(u - v, order, dims, boundary)
        if relative:
            distance = distance / _norm(v, order, dims, boundary).clamp_min(eps)
        return distance.mean()


def _norm(x: Window, order: int, dims: Dims, boundary: Boundary) -> Float[Tensor, "B"]:
    """‖w X̂‖₂ of each window. Linear in x up to the norm, so that it is one for every boundary."""
    if order == 0:
        return torch.linalg.vector_norm(x, dim=(1, 2))  # Parseval
    transform, weight, across = _transform(
        x.shape[1], x.shape[2] if dims == "space-time" else None, order, boundary, x.dtype, x.device
    )
    modes = F.linear(x.transpose(1, 2), transform).transpose(1, 2)  # one product for the batch
    if across is not None:
        modes = F.linear(modes, across)
    return torch.linalg.vector_norm((modes * weight).flatten(1), dim=1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # training may use later what evaluation has made
def _transform(
    samples: int,
    channels: int | None,
    order: int,
    boundary: Boundary,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[
    Float[Tensor, "modes T"], Float[Tensor, "modes channels_or_1"], Float[Tensor, "modes channels"] | None
]:
    """Orthonormal real transform over time, w of its modes, and the transform over the channels of a field.

    Windows are short: a product with a matrix costs a fraction of an FFT with its complex gradients, and has the same
    norm, because sines and cosines of a mode carry the energy of its two complex exponentials.
    """
    basis, kappa = _cosines(samples) if boundary == "even" else _waves(samples)
    square = kappa.square()[:, None]
    across = None
    if channels is not None:
        waves, kappa_x = _waves(channels)
        square, across = square + kappa_x.square(), waves.to(dtype=dtype, device=device)
    weight = (1 + square + (square.square() if order == 2 else 0)).sqrt()
    if boundary == "detrend":
        rise = torch.linspace(0, 1, samples, dtype=torch.float64)
        line = torch.zeros(samples, samples, dtype=torch.float64)
        line[:, 0], line[:, -1] = 1 - rise, rise
        basis = torch.cat([basis - basis @ line, line])
        weight = torch.cat([weight, torch.ones(samples, weight.shape[1], dtype=torch.float64)])
    return basis.to(dtype=dtype, device=device), weight.to(dtype=dtype, device=device), across


def _waves(n: int) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n"]]:
    """Orthonormal sines and cosines on n points, and the mode number of each: a whole one, for odd n too (§10.7d)."""
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    cosines = torch.arange(n // 2 + 1)
    sines = torch.arange(1, (n + 1) // 2)
    kappa = torch.cat([cosines, sines])
    rows = torch.cat([torch.cos(cosines[:, None] * angle), torch.sin(sines[:, None] * angle)])
    return rows / rows.norm(dim=1, keepdim=True), kappa.double()


def _cosines(n: int) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n"]]:
    """The orthonormal cosine transform (type II): waves of the window and its mirror image, in halves of a period."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi * k[:, None] * (torch.arange(n, dtype=torch.float64) + 0.5) / n)
    return rows / rows.norm(dim=1, keepdim=True), k / 2


def _check(u: Window, v: Window, order: int, dims: str, boundary: str) -> None:
    if u.shape != v.shape:
        raise ValueError(f"u has shape {tuple(u.shape)}, v {tuple(v.shape)}")
    if u.ndim != 3:
        raise ValueError(f"give windows (batch, samples, channels), got shape {tuple(u.shape)}")
    if order not in (0, 1, 2):
        raise ValueError(f"order must be 0, 1 or 2, got {order}")
    if dims not in ("time", "space-time"):
        raise ValueError(f"dims must be 'time' or 'space-time', got {dims!r}")
    if boundary not in ("periodic", "detrend", "even"):
        raise ValueError(f"boundary must be 'periodic', 'detrend' or 'even', got {boundary!r}")
    if order >= 1 and u.shape[1] < 4:
        raise ValueError(
            f"windows of {u.shape[1]} samples are too short for order {order}: give at least 4, or order 0"
        )


class LossTerms(NamedTuple):
    """The terms of the loss before their weights, and their weighted sum."""

    total: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    linear: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]


class KoopGenLoss(nn.Module):
    """w_pred·D(x̂, x) + w_lin·D(ẑ, z) + w_rec·D(Ψ(z), x) on windows of normalised data (§3.6).

    A term of weight 0 is not computed and given as 0.

    Args:
        w_pred: weight of the multi-step prediction.
        w_lin: weight of the distance between rolled-out and encoded latent states; always over time only, because the
            latent components form no grid. Above `w_pred` a constant latent state pays (§10.7c): a warning.
        w_rec: weight of the reconstruction.
        order: k of the Sobolev distance.
        kind: "time" for ODEs, "space-time" for fields on a grid, "mse" for mean squared errors.
        boundary: see `sobolev_distance`.
        gridded: whether the channels of the data are neighbours on a periodic grid; "space-time" warns if not.

    Example:
        >>> x, z = torch.randn(2, 8, 3), torch.randn(2, 8, 4)
        >>> terms = KoopGenLoss()(x, x, z, z)
        >>> float(terms.total)
        0.0
    """

    def __init__(
        self,
        w_pred: float = 1.0,
        w_lin: float = 1.0,
        w_rec: float = 0.0,
        order: int = 1,
        kind: Literal["time", "space-time", "mse"] = "time",
        boundary: Boundary = "periodic",
        gridded: bool = True,
    ):
        super().__init__()
        for name, value in (("w_pred", w_pred), ("w_lin", w_lin), ("w_rec", w_rec)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a weight of at least 0, got {value}")
        if w_pred == 0 and w_rec == 0:
            raise ValueError("w_pred and w_rec are both 0: nothing ties the model to the data")
        if kind not in ("time", "space-time", "mse"):
            raise ValueError(f"kind must be 'time', 'space-time' or 'mse', got {kind!r}")
        if order not in (0, 1, 2):
            raise ValueError(f"order must be 0, 1 or 2, got {order}")
        if w_lin > w_pred:
            warnings.warn(
                f"w_lin = {w_lin} is above w_pred = {w_pred}: a constant latent state lowers the loss",
                stacklevel=2,
            )
        if kind == "space-time" and not gridded:
            warnings.warn(
                "kind='space-time' takes the channels for neighbours on a grid, which they are not",
                stacklevel=2,
            )
        self.w_pred, self.w_lin, self.w_rec = w_pred, w_lin, w_rec
        self.order, self.kind, self.boundary = order, kind, boundary

    def forward(
        self,
        prediction: Window,
        target: Window,
        latent_prediction: Window | None = None,
        latent: Window | None = None,
        reconstruction: Window | None = None,
    ) -> LossTerms:
        """The terms.

        Args:
            prediction: x̂, the decoded roll-out.
            target: x, the data.
            latent_prediction: ẑ, the roll-out; needed for w_lin > 0.
            latent: z, the encoded data; needed for w_lin > 0.
            reconstruction: Ψ(z), needed for w_rec > 0.
        """
        zero = prediction.new_zeros(())
        dims: Dims = "space-time" if self.kind == "space-time" else "time"
        predicted = self._distance(prediction, target, dims) if self.w_pred else zero
        linear = rebuilt = zero
        if self.w_lin:
            if latent_prediction is None or latent is None:
                raise ValueError("w_lin > 0 needs latent_prediction and latent")
            linear = self._distance(latent_prediction, latent, "time")
        if self.w_rec:
            if reconstruction is None:
                raise ValueError("w_rec > 0 needs reconstruction")
            rebuilt = self._distance(reconstruction, target, dims)
        total = self.w_pred * predicted + self.w_lin * linear + self.w_rec * rebuilt
        return LossTerms(total, predicted, linear, rebuilt)

    def _distance(self, u: Window, v: Window, dims: Dims) -> Float[Tensor, ""]:
        if self.kind == "mse":
            return (u - v).square().mean()
        return sobolev_distance(u, v, self.order, dims, boundary=self.boundary)


class CollapseDetector:
    """Tells a model that has collapsed to output zero, at relative loss 1, from one that learns (§7.3, §10.7a).

    Only for relative distances. A collapsed run is a failed run, never a result for the other side.

    Args:
        threshold: prediction terms at or above it are those of a collapsed model.
        patience: how many terms in a row must be there.

    Example:
        >>> detector = CollapseDetector(patience=2)
        >>> [detector.update(term) for term in (1.0, 0.97, 0.4)]
        [False, True, False]
    """

    def __init__(self, threshold: float = 0.95, patience: int = 50):
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.threshold, self.patience = threshold, patience
        self._recent: deque[float] = deque(maxlen=patience)

    def update(self, prediction_term: float | Float[Tensor, ""]) -> bool:
        """Take in the prediction term of a step; whether the model is collapsed now."""
        self._recent.append(float(prediction_term))
        return self.collapsed

    @property
    def collapsed(self) -> bool:
        """Whether the last `patience` terms are all at the threshold, above it, or not a number."""
        return len(self._recent) == self.patience and not any(term < self.threshold for term in self._recent)
