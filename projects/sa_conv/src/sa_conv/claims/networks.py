"""The EDSRs of the claims by the names of the pictures, and CNNs with as many parameters."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.claims.textures import Size
from sa_conv.geometry import Frame
from sa_conv.hyper import ImageHyperNet
from sa_conv.models.edsr import EDSR
from sa_conv.models.network import Tail

VARIANTS = {"CNN": "cnn", "F-Conv": "fconv", "B-Conv": "bconv", "TL-Conv": "tlconv", "SA-Conv": "saconv"}


def texture_network(name: str, tail: Tail, size: Size, channels: int | None = None) -> EDSR:
    """An EDSR for single-channel textures without a range; the CNN has 5×5 kernels, as the notes' runs."""
    if name == "CNN":
        width = 8 * size.fields if channels is None else channels
        return EDSR(
            "cnn", 1, fields=width, n_blocks=size.blocks, in_channels=1, kernel_size=5, value_range=None
        )
    return EDSR(
        VARIANTS[name],
        1,
        fields=size.fields,
        n_blocks=size.blocks,
        in_channels=1,
        tail=tail,
        value_range=None,
    )


def edsr(
    name: str,
    fields: int,
    blocks: int,
    scale: int,
    channels: int | None = None,
    *,
    normalize_input: bool = False,
) -> EDSR:
    """An EDSR for photographs in 0…255 with the paper's plain tail; `channels` is the width of the CNN.

    With `normalize_input` the hypernetwork divides its input by 255. The paper does not, but trains SA at 5e-5 to 3e-4; at
    the rates of short trainings the large inputs throw w about (P8).
    """
    width = fields if name != "CNN" else (8 * fields if channels is None else channels)
    return EDSR(VARIANTS[name], scale, fields=width, n_blocks=blocks, normalize_input=normalize_input)


def channels_for(parameters: int, size: Size) -> int:
    """Width of the texture CNN whose number of parameters is closest to `parameters`."""
    return _closest(parameters, lambda width: texture_network("CNN", "plain", size, width))


def edsr_cnn_like(fields: int, blocks: int, scale: int) -> tuple[int, int]:
    """(channels, blocks) of a CNN with as many parameters as the B-Conv EDSR, within 5 %.

    As many blocks as B-Conv if a width fits, else one more, else one fewer.

    Raises:
        ValueError: if no width of these fits; choose other sizes for the comparison.
    """
    wanted = _count(edsr("B-Conv", fields, blocks, scale))
    for n_blocks in (blocks, blocks + 1, max(1, blocks - 1)):

        def build(width: int, n_blocks: int = n_blocks) -> nn.Module:
            return edsr("CNN", fields, n_blocks, scale, width)

        width = _closest(wanted, build)
        if abs(_count(build(width)) - wanted) <= 0.05 * wanted:
            return width, n_blocks
    raise ValueError(
        f"no CNN has {wanted} ± 5 % parameters like B-Conv with fields={fields}, blocks={blocks}"
    )


def hypernetwork(model: nn.Module) -> ImageHyperNet:
    """The hypernetwork of an SA network."""
    (found,) = (m for m in model.modules() if isinstance(m, ImageHyperNet))
    return found


@torch.no_grad()
def answers(model: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int = 50) -> Float[Tensor, "n 3"]:
    """w of every image, on the CPU."""
    hyper = hypernetwork(model).eval()
    device = next(hyper.parameters()).device
    return torch.cat([hyper(x.to(device)).cpu() for x in images.split(batch_size)])


def frames(model: nn.Module) -> list[Frame]:
    """The frames of the layers, in order."""
    return [m for m in model.modules() if isinstance(m, Frame)]


def _closest(wanted: int, build: Callable[[int], nn.Module]) -> int:
    """The width with the closest count; the count grows with the width."""
    with torch.device("meta"):
        width = 1
        while _count(build(width + 1)) <= wanted:
            width += 1
        below, above = _count(build(width)), _count(build(width + 1))
    return width if wanted - below <= above - wanted else width + 1


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
