"""Warm starts: weights of a simpler network become weights of a richer one that computes the same (claim K6).

    B-/F-Conv → TL-Conv    every layer gets a frame at the identity
    TL-Conv → SA-Conv      the network gets a hypernetwork whose head is zero, so w = 0 for every image

`warm_start` does what is needed for a given model and checks every tensor; `bconv_to_tl` and `tl_to_sa` work on state dicts alone.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sa_conv.geometry import Frame, Parametrization
from sa_conv.hyper import FeatureHyperNet, ImageHyperNet

State = Mapping[str, Tensor]


def bconv_to_tl(state_dict: State, parametrization: Parametrization = "raw") -> dict[str, Tensor]:
    """Weights of a TL-Conv network that computes what the B- or F-Conv network does.

    Args:
        state_dict: of a network with geometry="none".
        parametrization: of the frames to add.

    Raises:
        ValueError: if the weights already have frames, or no layer of the family is among them.

    Example:
        >>> from sa_conv.models import EDSR
        >>> sizes = {"scale": 1, "fields": 2, "n_blocks": 1}
        >>> tl = EDSR("tlconv", **sizes)
        >>> tl.load_state_dict(bconv_to_tl(EDSR("bconv", **sizes).state_dict()))
        <All keys matched successfully>
    """
    if frames := [key for key in state_dict if key.endswith("frame.base")]:
        raise ValueError(f"state_dict already has frames ({frames[0]}): it is not of a B- or F-Conv network")
    layers = [key.removesuffix("weight") for key in state_dict if _is_family_weight(key, state_dict)]
    if not layers:
        raise ValueError("state_dict has no layer of B- or F-Conv")
    identity = torch.tensor(Frame.identity(parametrization))
    frames_added = {f"{layer}frame.base": identity.to(state_dict[f"{layer}weight"]) for layer in layers}
    return {**state_dict, **frames_added}


def tl_to_sa(state_dict: State, hyper: nn.Module | None = None) -> dict[str, Tensor]:
    """Weights of an SA-Conv network that computes what the TL-Conv network does.

    Args:
        state_dict: of a network with geometry="learned".
        hyper: the hypernetwork to add; a new `ImageHyperNet` by default. Its head is set to zero.

    Raises:
        ValueError: if the weights have no frames, or already have a hypernetwork.

    Example:
        >>> from sa_conv.models import EDSR
        >>> sizes = {"scale": 1, "fields": 2, "n_blocks": 1}
        >>> sa = EDSR("saconv", **sizes)
        >>> sa.load_state_dict(tl_to_sa(EDSR("tlconv", **sizes).state_dict()))
        <All keys matched successfully>
    """
    if any(key.startswith("hyper.") or ".hyper." in key for key in state_dict):
        raise ValueError("state_dict already has a hypernetwork: it is of an SA-Conv network")
    if not any(key.endswith("frame.base") for key in state_dict):
        raise ValueError("state_dict has no frames: it is not of a TL-Conv network; apply bconv_to_tl first")
    if hyper is None:
        hyper = ImageHyperNet()
    if not isinstance(hyper, ImageHyperNet | FeatureHyperNet):
        raise TypeError(f"hyper must be an ImageHyperNet or FeatureHyperNet, got {type(hyper).__name__}")
    hyper.zero_head()
    like = next(t for t in state_dict.values() if t.is_floating_point())
    added = {
        f"hyper.{key}": value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
        for key, value in hyper.state_dict().items()
    }
    return {**state_dict, **added}


def warm_start(state_dict: State, model: nn.Module) -> dict[str, Tensor]:
    """The weights completed for `model`, which then computes what the network they come from did.

    Args:
        state_dict: of the same network, or of the same network with a poorer geometry.
        model: the network to start; frames missing in the weights become the identity, hypernetworks missing are taken from it with
            their heads at zero. It is not changed.

    Raises:
        ValueError: if a tensor is missing that is neither, is left over, or has another shape; it is named.

    Example:
        >>> from sa_conv.models import RCDNet
        >>> sizes = {"n_stages": 1, "fields": 1, "n_blocks": 1}
        >>> sa = RCDNet("saconv", **sizes)
        >>> sa.load_state_dict(warm_start(RCDNet("fconv", **sizes).state_dict(), sa))
        <All keys matched successfully>
    """
    target = model.state_dict()
    known = _identity_frames(model) | _zero_hypernetworks(model)
    result = {}
    for key, tensor in target.items():
        if key in state_dict:
            result[key] = state_dict[key]
            _require_shape(key, state_dict[key], tensor)
        elif key in known:
            result[key] = known[key]
        else:
            raise ValueError(_missing(key))
    if left := sorted(set(state_dict) - set(target)):
        raise ValueError(
            f"state_dict has {left[0]!r} ({len(left)} left over), which {type(model).__name__} has no place for: "
            "it comes from a network with another layout, basis or a richer geometry"
        )
    return result


def _is_family_weight(key: str, state_dict: State) -> bool:
    """Whether a weight (out, in, E, K) belongs to a layer of the family and not to an nn.Conv2d (out, in, p, p)."""
    if not key.endswith(".weight") and key != "weight":
        return False
    weight = state_dict[key]
    if weight.ndim != 4:
        return False
    if f"{key.removesuffix('weight')}bank.whitening" in state_dict:
        return True
    relative, coefficients = weight.shape[2:]
    root = math.isqrt(coefficients)
    is_square = root * root == coefficients and root % 2 == 1 and root >= 3
    if is_square and relative == coefficients:
        raise ValueError(
            f"{key!r} may be a plain {relative}×{relative} convolution or a layer with N = {relative}: use warm_start(state_dict, model)"
        )
    return is_square


def _identity_frames(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.base" if name else "base": module.base.new_tensor(Frame.identity(module.parametrization))
        for name, module in model.named_modules()
        if isinstance(module, Frame) and module.learn
    }


def _zero_hypernetworks(model: nn.Module) -> dict[str, Tensor]:
    entries = {}
    for name, module in model.named_modules():
        if isinstance(module, ImageHyperNet | FeatureHyperNet):
            for key, value in module.state_dict().items():
                head = key.startswith(f"mlp.{len(module.mlp) - 1}.")
                entries[f"{name}.{key}"] = torch.zeros_like(value) if head else value.clone()
    return entries


def _require_shape(key: str, given: Tensor, expected: Tensor) -> None:
    if given.shape == expected.shape:
        return
    meaning = " (fields out, fields in, N, functions)" if given.ndim == expected.ndim == 4 else ""
    raise ValueError(
        f"{key!r} has shape {tuple(given.shape)}, the model takes {tuple(expected.shape)}{meaning}: "
        "N, kernel_size and fields must be those of the weights"
    )


def _missing(key: str) -> str:
    if key.endswith("bank.whitening"):
        return (
            f"state_dict lacks {key!r}, the matrix U of the Fourier basis: coefficients mean nothing without it; "
            "if the weights are of the bicubic basis, build the model with basis='bicubic'"
        )
    return f"state_dict lacks {key!r}: it comes from another network"
