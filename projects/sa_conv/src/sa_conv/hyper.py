"""Hypernetworks that read an image and answer how its filters shall be bent: w = (Δθ0, ΔCx, ΔCy) (section 3.4).

Five unpadded blocks Conv 3×3 – BatchNorm – ReLU give features F. Their inner products with the (pooled) reference image g,

    w1[b, c] = 1/(H'W') sum_xy F[b, c, x, y] g↓[b, x, y],

go through a small MLP whose last layer starts at zero, so that an untrained SA-Conv network is a TL-Conv network.
"""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

IMAGE_STRIDES = (1, 2, 2, 1, 1)
FEATURE_STRIDES = (1, 2, 2, 1)
_LUMINANCE = (0.2989, 0.5870, 0.1140)


def minimum_size(strides: Sequence[int]) -> int:
    """The smallest image side that leaves one pixel after unpadded 3×3 convolutions with these strides.

    Example:
        >>> minimum_size(IMAGE_STRIDES), minimum_size(FEATURE_STRIDES)
        (25, 17)
    """
    size = 1
    for stride in reversed(strides):
        size = (size - 1) * stride + 3
    return size


def _size_after(size: int, strides: Sequence[int]) -> int:
    for stride in strides:
        size = (size - 3) // stride + 1
    return size


class _HyperNet(nn.Module):
    """Convolutional features, inner product with a reference image, MLP with a zero head."""

    def __init__(self, in_channels: int, strides: Sequence[int], out: int):
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out", out)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.strides = tuple(strides)
        self.min_size = minimum_size(strides)
        widths = (in_channels, 16, *[32] * (len(strides) - 1))
        blocks: list[nn.Module] = []
        for a, b, stride in zip(widths[:-1], widths[1:], strides):
            blocks += [nn.Conv2d(a, b, 3, stride=stride), nn.BatchNorm2d(b), nn.ReLU()]
        self.features = nn.Sequential(*blocks)
        self.mlp = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, out))
        self.zero_head()

    def zero_head(self) -> None:
        """Set the last linear layer to zero: w = 0 for every image, the network is its TL-Conv base."""
        head = self.mlp[-1]
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def _answer(self, x: Tensor, reference: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b out"]:
        if min(x.shape[-2:]) < self.min_size:
            raise ValueError(
                f"x is {x.shape[-2]}×{x.shape[-1]} pixels, this hypernetwork needs at least "
                f"{self.min_size}×{self.min_size}: pad the image or use geometry='learned'"
            )
        features = self._features(x)
        pooled = F.adaptive_avg_pool2d(reference, (features.shape[-2], features.shape[-1]))
        return self.mlp((features * pooled).mean((-2, -1)))

    def _features(self, x: Tensor) -> Float[Tensor, "b 32 h w"]:
        left = [_size_after(side, self.strides) for side in x.shape[-2:]]
        if self.training and len(x) == 1 and left == [1, 1]:
            raise ValueError(
                "x is a single image whose features are one pixel: batch norm cannot train on it; "
                "use a larger batch or patch, or eval()"
            )
        return self.features(x)


class ImageHyperNet(_HyperNet):
    """w from the degraded image itself: 33,523 parameters, whatever the size of the image (section 3.4).

    Colour is turned into luminance first, so images with 1 and with 3 channels are taken by the same network.

    Args:
        out: how many numbers to answer; 3 is (Δθ0, ΔCx, ΔCy).
        value_range: the largest value of the images, 255 in the paper; None for data without a range. The first batch
            is compared with it: values up to 1.5 where 255 is expected give a warning.
        normalize_input: divide by `value_range` first (the paper does not).

    Example:
        >>> hyper = ImageHyperNet()
        >>> hyper(255 * torch.rand(2, 3, 48, 40)).shape
        torch.Size([2, 3])
        >>> sum(p.numel() for p in hyper.parameters())
        33523
    """

    def __init__(self, out: int = 3, *, value_range: float | None = 255.0, normalize_input: bool = False):
        super().__init__(1, IMAGE_STRIDES, out)
        if normalize_input and value_range is None:
            raise ValueError("normalize_input=True needs value_range, got None: say by what to divide")
        if value_range is not None and value_range <= 0:
            raise ValueError(f"value_range must be positive, got {value_range}")
        self.value_range = value_range
        self.normalize_input = normalize_input
        self._range_checked = False
        self._luminance: Tensor
        self.register_buffer("_luminance", torch.tensor(_LUMINANCE).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out"]:
        """
        Raises:
            ValueError: if x has other than 1 or 3 channels, or is smaller than 25×25 pixels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"x must have shape (b, 1 or 3, h, w), got {tuple(x.shape)}")
        if not self._range_checked and not torch.compiler.is_compiling():
            self._check_range(x)
        if self.normalize_input:
            assert self.value_range is not None
            x = x / self.value_range
        gray = x if x.shape[1] == 1 else (x * self._luminance).sum(1, keepdim=True)
        return self._answer(gray, gray)

    def _check_range(self, x: Tensor) -> None:
        self._range_checked = True  # once: the maximum costs a synchronisation on a GPU
        if self.value_range is not None and self.value_range >= 100 and x.amax() <= 1.5:
            warnings.warn(
                f"the largest value of x is {float(x.amax()):.3g}, but images in 0..{self.value_range:g} are expected: "
                "scale them, or set value_range",
                stacklevel=3,
            )


class FeatureHyperNet(_HyperNet):
    """w from a stack of feature channels, as in the deraining network: 29,107 parameters for 35 channels (section 3.4).

    The reference image is the mean of the channels. Four blocks, so 17×17 pixels are enough.

    Args:
        in_channels: channels of the input.
        out: how many numbers to answer.

    Example:
        >>> hyper = FeatureHyperNet(35)
        >>> hyper(torch.rand(2, 35, 24, 24)).shape, sum(p.numel() for p in hyper.parameters())
        (torch.Size([2, 3]), 29107)
    """

    def __init__(self, in_channels: int, out: int = 3):
        super().__init__(in_channels, FEATURE_STRIDES, out)
        self.in_channels = in_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out"]:
        """
        Raises:
            ValueError: if x has not `in_channels` channels, or is smaller than 17×17 pixels.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must have shape (b, {self.in_channels}, h, w), got {tuple(x.shape)}")
        return self._answer(x, x.mean(1, keepdim=True))
