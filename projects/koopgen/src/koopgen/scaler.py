"""Physical units to the units the networks see and back: x̃ = (x - mean) / std (NOTES: §5 normalisation, §10.8)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_finite, check_last, check_positive

KINDS = ("none", "global", "channel", "explicit")


class Scaler(nn.Module):
    """A fixed affine map of the state.

    Args:
        n_x: size of the state.
        kind: "none": identity. "channel": mean and standard deviation of each channel. "global": mean of each channel, one standard
            deviation for all, the root of the mean variance. "explicit": the values given.
        mean, std: for "explicit"; a number for all channels or one for each.

    Notes:
        "channel" and "global" must be fitted to the training split before use: `scaler.fit(x)`. Mean and std are
        buffers and travel with the checkpoint.

    Example:
        >>> scaler = Scaler(2, "channel").fit(torch.tensor([[0.0, 10.0], [2.0, 30.0]]))
        >>> scaler.normalize(torch.tensor([2.0, 20.0]))
        tensor([1., 0.])
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(
        self,
        n_x: int,
        kind: str = "none",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ):
        super().__init__()
        check_positive(n_x=n_x)
        check_choice("normalisation", kind, KINDS)
        if (kind == "explicit") != (mean is not None and std is not None) or (mean is None) != (std is None):
            raise ValueError(
                f"mean and std belong together and to normalisation='explicit', got {kind!r} with mean={mean}, std={std}"
            )
        self.n_x, self.kind = n_x, kind
        self.register_buffer("mean", _channels("mean", 0.0 if mean is None else mean, n_x))
        self.register_buffer("std", _channels("std", 1.0 if std is None else std, n_x))
        if not bool((self.std > 0).all()):
            raise ValueError(f"std must be above 0 in every channel, got {std}")
        self.register_buffer("fitted", torch.tensor(kind in ("none", "explicit")))
        self._ready = False  # asked once, not every call: the answer lies on the device

    def fit(self, x: Float[Tensor, "... n_x"]) -> "Scaler":
        """Take mean and standard deviation (of the population) over all leading axes of training data.

        Raises:
            ValueError: if a channel does not vary, or the kind is not "channel" or "global".
        """
        if self.kind not in ("channel", "global"):
            raise ValueError(
                f"normalisation={self.kind!r} has nothing to fit; use 'channel' or 'global', or leave fit out"
            )
        check_last("x", x, self.n_x, "n_x")
        check_finite("x", x)
        flat = x.detach().reshape(-1, self.n_x).double()
        variance, mean = torch.var_mean(flat, 0, correction=0)
        if self.kind == "global":
            variance = variance.mean().expand(self.n_x)
        # A channel whose spread is rounding error of its mean does not vary either.
        flat_channels = (variance.sqrt() <= 1e-6 * mean.abs().clamp(min=1e-30)).nonzero().flatten().tolist()
        if flat_channels:
            raise ValueError(
                f"channels {flat_channels} of x do not vary (standard deviation 0): drop them, or use normalisation='global'"
            )
        self.mean.copy_(mean)
        self.std.copy_(variance.sqrt())
        self.fitted.fill_(True)
        return self

    def _require_fit(self) -> None:
        if not self._ready:
            if not bool(self.fitted):
                raise RuntimeError(
                    f"the scaler (normalisation={self.kind!r}) has not seen data: call model.scaler.fit(x) on the training split first"
                )
            self._ready = True

    def normalize(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... n_x"]:
        """From physical units."""
        self._require_fit()
        return (x - self.mean) / self.std

    def denormalize(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... n_x"]:
        """To physical units."""
        self._require_fit()
        return x * self.std + self.mean

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.n_x}, kind={self.kind!r}"


def _channels(name: str, value: float | Sequence[float], n_x: int) -> Tensor:
    tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).clone()
    if tensor.dim() > 1 or tensor.numel() not in (1, n_x):
        raise ValueError(f"{name} must be a number or {n_x} numbers, got {value}")
    check_finite(name, tensor)
    return tensor.flatten().expand(n_x).clone()
