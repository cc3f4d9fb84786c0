"""The networks of the paper by name."""

from typing import Any

from torch import nn

from sa_conv.models.convolutions import VARIANTS
from sa_conv.models.edsr import EDSR
from sa_conv.models.rcan import RCAN
from sa_conv.models.rcdnet import RCDNet
from sa_conv.models.rdn import RDN

NETWORKS: dict[str, type[nn.Module]] = {"edsr": EDSR, "rdn": RDN, "rcan": RCAN, "rcdnet": RCDNet}

# Where a variant of the paper differs from the defaults of the class.
_PAPER: dict[tuple[str, str], dict[str, Any]] = {
    ("edsr", "cnn"): {"fields": 256, "closing_conv": True},
    ("edsr", "p4"): {"fields": 64},
    ("rdn", "cnn"): {"fields": 64, "growth": 64, "res_scale": 1.0},
    ("rdn", "p4"): {"fields": 16, "growth": 16},
    ("rcan", "cnn"): {"fields": 64, "res_scale": 1.0, "tail_channels": None, "tail_kernel_size": 3},
    ("rcan", "p4"): {"fields": 16},
    ("rcan", "saconv"): {"mask": "detached"},
    ("rcdnet", "p4"): {"fields": 10},
}


def build_model(name: str, variant: str = "saconv", **cfg: Any) -> nn.Module:
    """A network with the paper's sizes, which `cfg` changes.

    Args:
        name: "edsr", "rdn", "rcan" or "rcdnet".
        variant: "cnn", "p4", "fconv", "bconv", "tlconv", "saconv" or "e2cnn".
        cfg: arguments of the network's class.

    Raises:
        ValueError: if the name or variant is unknown.

    Example:
        >>> net = build_model("edsr", "saconv")
        >>> sum(p.numel() for p in net.parameters())
        8957913
    """
    if name not in NETWORKS:
        raise ValueError(f"name must be one of {', '.join(NETWORKS)}, got {name!r}")
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
    return NETWORKS[name](variant=variant, **(_PAPER.get((name, variant), {}) | cfg))
