"""Networks from plain dictionaries, as presets and results name them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..arguments import check_choice
from .convnets import ConvKANNet, MetaConvKANNet
from .networks import KAN, MLP, MetaKAN

MODELS: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "kan": KAN,
    "metakan": MetaKAN,
    "conv_kan": ConvKANNet,
    "meta_conv_kan": MetaConvKANNet,
}


def build_model(cfg: Mapping[str, Any]) -> nn.Module:
    """The network `cfg` describes: {"name": one of MODELS, and the arguments of that class}.

    Example:
        >>> build_model({"name": "metakan", "widths": [64, 32, 10], "hidden": 16}).config["hidden"]
        16
    """
    arguments = dict(cfg)
    if "name" not in arguments:
        raise ValueError(f"cfg must have the key 'name' with one of {', '.join(MODELS)}; it has {list(cfg)}")
    name = arguments.pop("name")
    check_choice("name", name, tuple(MODELS))
    return MODELS[name](**arguments)
