"""The map that bends a layer's filters, and the filter functions it bends (sections 3.3, 3.4).

A layer reads its filter φ at A⁻¹D⁻¹δ with D⁻¹ = diag(Cx, Cy) R(θ0). In the continuum it then commutes not with the rotations A
but with the conjugated group {D A D⁻¹}: "elliptic rotations", which are rotations only if Cx = Cy.

    TL-Conv   (θ0, Cx, Cy) are three trained numbers of the layer
    SA-Conv   (θ0, Cx, Cy) = those + s·w, where w = (Δθ0, ΔCx, ΔCy) belongs to one image
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv import Basis
from tenfold.groups import CyclicGroup
from tenfold.imaging import keys_cubic

Geometry = Literal["none", "learned", "adaptive"]
Mask = Literal["transformed", "detached", "static", "none"]
Parametrization = Literal["raw", "exp"]

DEGENERATE = 0.05


class Frame(nn.Module):
    """D⁻¹ = diag(Cx, Cy) R(θ0) from three trained numbers and, if there is one, the w of each image.

    Args:
        parametrization: "raw": the numbers are (θ0, Cx, Cy), as in the paper; nothing keeps Cx, Cy from 0, so a warning
            tells when |Cx·Cy| falls below 0.05. "exp": they are (θ0, log Cx, log Cy), which never degenerates.
        scale: s, the factor of w.
        learn: train the numbers; if False they stay at the identity (deraining).

    Example:
        >>> Frame()().tolist()
        [[1.0, -0.0], [0.0, 1.0]]
        >>> Frame()(torch.zeros(4, 3)).shape
        torch.Size([4, 2, 2])
    """

    base: Tensor

    def __init__(self, parametrization: Parametrization = "raw", scale: float = 1.0, learn: bool = True):
        super().__init__()
        if parametrization not in get_args(Parametrization):
            raise ValueError(f"parametrization must be 'raw' or 'exp', got {parametrization!r}")
        self.parametrization, self.scale, self.learn = parametrization, scale, learn
        identity = torch.tensor(self.identity(parametrization))
        if learn:
            self.base = nn.Parameter(identity)
        else:
            self.register_buffer("base", identity, persistent=False)

    @staticmethod
    def identity(parametrization: Parametrization) -> tuple[float, float, float]:
        """The numbers at which D is the identity."""
        return (0.0, 1.0, 1.0) if parametrization == "raw" else (0.0, 0.0, 0.0)

    def reset_parameters(self) -> None:
        """Back to the identity."""
        with torch.no_grad():
            self.base.copy_(torch.tensor(self.identity(self.parametrization)))

    def numbers(self, w: Float[Tensor, "*batch 3"] | None = None) -> Float[Tensor, "*batch 3"]:
        """(θ0, Cx, Cy)."""
        raw = self.base if w is None else self.base + self.scale * w
        if self.parametrization == "raw":
            return raw
        return torch.cat([raw[..., :1], raw[..., 1:].exp()], -1)

    def forward(self, w: Float[Tensor, "*batch 3"] | None = None) -> Float[Tensor, "*batch 2 2"]:
        theta, cx, cy = self.numbers(w).unbind(-1)
        if not torch.compiler.is_compiling() and theta.device.type == "cpu":
            warn_if_degenerate(cx, cy)
        cos, sin = theta.cos(), theta.sin()
        return torch.stack([cx * cos, -cx * sin, cy * sin, cy * cos], -1).unflatten(-1, (2, 2))

    def extra_repr(self) -> str:
        return f"parametrization={self.parametrization!r}, scale={self.scale:g}, learn={self.learn}"


class BentBank(nn.Module):
    """The filter functions φ_k(A⁻¹D⁻¹δ) for given D⁻¹, in the layout (*batch, K, N, p, p) of `tenfold.groupconv`.

    The same functions as `tenfold.groupconv.basis`, arranged for being evaluated at every step: all orientations of all images
    in one product of matrices.

    Args:
        group: the rotations A.
        kernel_size: p, odd and at least 3.
        basis: "bicubic" or "fourier". The Fourier basis is whitened at D = I once; the layer passes its matrix.
        frequencies: q of the Fourier basis.
        mask: soft disk at the transformed pixels ("transformed", the paper's RDN), the same without gradient
            ("detached", RCAN and RCDNet), at the pixels ("static", EDSR), or no mask. All are 1 for N ∈ {1, 2, 4}, and
            equal each other at D = I.

    Example:
        >>> BentBank(CyclicGroup(8), 5)(Frame()(torch.zeros(3, 3)), None).shape
        torch.Size([3, 25, 8, 5, 5])
    """

    rotations: Tensor
    pixels: Tensor

    def __init__(
        self,
        group: CyclicGroup,
        kernel_size: int,
        basis: Basis = "bicubic",
        frequencies: int | None = None,
        mask: Mask = "transformed",
    ):
        super().__init__()
        if basis not in ("bicubic", "fourier"):
            raise ValueError(f"basis must be 'bicubic' or 'fourier' for a geometry, got {basis!r}")
        if mask not in get_args(Mask):
            raise ValueError(f"mask must be one of {', '.join(get_args(Mask))}, got {mask!r}")
        self.group, self.kernel_size, self.basis, self.mask = group, kernel_size, basis, mask
        self.frequencies = kernel_size if frequencies is None else frequencies
        for name, exact in self._exact_constants().items():
            self.register_buffer(name, exact.to(torch.get_default_dtype()), persistent=False)

    def forward(
        self, inverse: Float[Tensor, "*batch 2 2"], whitening: Float[Tensor, "functions rank"] | None
    ) -> Float[Tensor, "*batch K order p p"]:
        if inverse.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"the geometry must be float32 or float64, got {inverse.dtype}: use autocast instead"
            )
        batch, p = inverse.shape[:-2], self.kernel_size
        places = (self.rotations @ inverse.unsqueeze(-3)) @ self.pixels  # … o (u v) pp
        mask = self.disk(inverse).flatten(-2)[..., None, None, :]  # … 1 1 pp
        if self.basis == "bicubic":
            knots = torch.arange(p, dtype=places.dtype, device=places.device) - (p - 1) / 2
            along = keys_cubic((p - 1) / 2 * places.unsqueeze(-2) - knots[:, None])  # … o (u v) k pp
            masked = along[..., 0, :, :] * mask
            functions = (masked.unsqueeze(-2) * along[..., 1, None, :, :]).flatten(-3, -2)  # … o (k l) pp
        else:
            assert whitening is not None
            phase = self._frequencies(places) @ places  # … o (k l) pp
            waves = torch.cat([phase.cos(), phase.sin()], -2) * mask
            functions = whitening.to(waves).T @ waves
        return functions.transpose(-3, -2).reshape(*batch, -1, self.group.order, p, p)

    def disk(self, inverse: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch p p"]:
        """The mask, at the pixels that `inverse` moves: exp(−max(ρ² − 1, 0)/s) with ρ = |D⁻¹δ|."""
        if self.mask == "none" or self.group.is_lattice_group:
            return inverse.new_ones(*inverse.shape[:-2], self.kernel_size, self.kernel_size)
        if self.mask == "static":
            moved = self.pixels
        else:
            moved = (inverse.detach() if self.mask == "detached" else inverse) @ self.pixels
        softness = 0.2 if self.kernel_size > 4 else 2.0
        disk = torch.exp(-(moved.square().sum(-2) - 1).clamp(min=0) / softness)
        return disk.unflatten(-1, (self.kernel_size, self.kernel_size))

    def _frequencies(self, like: Tensor) -> Float[Tensor, "kl 2"]:
        """v·(k, l) for all pairs of frequencies, symmetric about zero, v = π(q − 1)/q."""
        q = self.frequencies
        k = torch.arange(q, dtype=like.dtype, device=like.device)
        k = torch.where(k > q / 2, k - q, k) * (math.pi * (q - 1) / q)
        return torch.cartesian_prod(k, k)

    def _exact_constants(self) -> dict[str, Tensor]:
        """The matrices A⁻¹ and the pixels δ = (X, Y), in float64."""
        rotations = torch.stack([self.group.inverse_matrix(t) for t in self.group.elements])
        radius = (self.kernel_size - 1) // 2
        axis = torch.arange(-radius, radius + 1, dtype=torch.float64) / radius
        pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy")).flatten(1)
        return {"rotations": rotations, "pixels": pixels}

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "BentBank":
        """After a change of dtype or device, start from the exact constants instead of the old rounding."""
        super()._apply(fn, *args, **kwargs)
        for name, exact in self._exact_constants().items():
            setattr(self, name, exact.to(getattr(self, name)))
        return self

    def extra_repr(self) -> str:
        return f"{self.group}, {self.kernel_size}, basis={self.basis!r}, mask={self.mask!r}"


def warn_if_degenerate(cx: Tensor, cy: Tensor) -> None:
    """Warn when some D is close to singular (P4)."""
    if cx.numel() == 0:
        return
    area = (cx * cy).detach().abs().min()
    if area < DEGENERATE:
        warnings.warn(
            f"|Cx·Cy| = {float(area):.3g} is below {DEGENERATE}: the filters are stretched until they degenerate; "
            "use parametrization='exp' or a smaller learning rate",
            stacklevel=2,
        )


def require_finite(w: Float[Tensor, "b 3"], name: str = "w") -> None:
    """Stop at the first image whose w is NaN or infinite.

    Raises:
        ValueError: naming the batch index.
    """
    bad = ~torch.isfinite(w.detach()).flatten(1).all(1)
    if bad.any():
        index = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"{name} of image {index} in the batch is not finite: {w[index].detach().tolist()}; "
            "lower the learning rate of the hypernetwork or look at its input"
        )
