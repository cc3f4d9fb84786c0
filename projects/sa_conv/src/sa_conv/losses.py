"""The deraining loss of RCDNet, which looks at every stage of the unfolded algorithm (sa_conv §5)."""

from jaxtyping import Float
from torch import Tensor

from sa_conv.models.rcdnet import Derained


def deraining_loss(
    estimate: Derained, rainy: Float[Tensor, "b 3 h w"], clean: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, ""]:
    """L = 0.1‖B⁰ − B‖² + Σ_s 0.1(‖Bˢ − B‖² + ‖CMˢ − R‖²) + ‖B_final − B‖² + 0.9‖CM^S − R‖², with R = O − B.

    Norms are means over pixels, in the squared units of the images.

    Example:
        >>> import torch
        >>> clean, rain = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> perfect = Derained(clean, clean, (clean, clean), (rain,))
        >>> deraining_loss(perfect, clean + rain, clean).item()
        0.0
        >>> round(deraining_loss(Derained(clean, clean + 1, (clean, clean), (rain,)), clean + rain, clean).item(), 3)
        0.1
    """
    rain = rainy - clean

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()

    loss = 0.1 * distance(estimate.initial, clean) + distance(estimate.background, clean)
    for background, found in zip(estimate.backgrounds, estimate.rains):  # the final background is not a stage
        loss = loss + 0.1 * (distance(background, clean) + distance(found, rain))
    return loss + 0.9 * distance(estimate.rains[-1], rain)
