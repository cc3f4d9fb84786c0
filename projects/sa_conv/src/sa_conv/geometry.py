"""The map that bends a layer's filters, and the filter functions it bends (sections 3.3, 3.4).

A layer reads its filter φ at A⁻¹D⁻¹δ with D⁻¹ = diag(Cx, Cy) R(θ0). In the continuum it then commutes not with the rotations A
but with the conjugated group {D A D⁻¹}: "elliptic rotations", which are rotations only if Cx = Cy.

    TL-Conv   (θ0, Cx, Cy) are three trained numbers of the layer
    SA-Conv   (θ0, Cx, Cy) = those + s·w, where w = (Δθ0, ΔCx, ΔCy) belongs to one image
"""

import warnings
from typing import Literal, get_args

import torch
from jaxtyping import Float
from tenfold.groupconv import Basis, bank_from_basis, bicubic_basis, disk_mask, fourier_functions
from tenfold.groups import CyclicGroup
from torch import Tensor, nn

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

    Args:
        group: the rotations A.
        kernel_size: p, odd and at least 3.
        basis: "bicubic" or "fourier". The Fourier basis is whitened at D = I once; the layer passes its matrix.
        frequencies: q of the Fourier basis.
        mask: soft disk at the transformed pixels ("transformed", the paper's RDN), the same without gradient
            ("detached", RCAN and RCDNet), at the pixels ("static", EDSR), or no mask. All are 1 for N ∈ {1, 2, 4}, and
            equal each other at D = I.
    """

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

    def forward(
        self, inverse: Float[Tensor, "*batch 2 2"], whitening: Float[Tensor, "functions rank"] | None
    ) -> Float[Tensor, "*batch K order p p"]:
        if inverse.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"the geometry must be float32 or float64, got {inverse.dtype}: use autocast instead"
            )
        mask = self._mask(inverse)
        if self.basis == "bicubic":
            return bank_from_basis(bicubic_basis(self.group, self.kernel_size, inverse, mask))
        functions = fourier_functions(self.group, self.kernel_size, self.frequencies, inverse, mask)
        assert whitening is not None
        return bank_from_basis(functions @ whitening.to(functions))

    def _mask(self, inverse: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch p p"]:
        if self.mask == "static":
            return disk_mask(self.group, self.kernel_size).to(inverse)
        if self.mask == "none":
            return inverse.new_ones(self.kernel_size, self.kernel_size)
        at = inverse.detach() if self.mask == "detached" else inverse
        return disk_mask(self.group, self.kernel_size, at)

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
