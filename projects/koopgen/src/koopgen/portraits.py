"""Portraits of a trained generator: its transport and dissipation field, and its rates and frequencies, over states."""

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure

from .analysis import read_out
from .maps import ColourMap, PlaneField, attractor_maps, vector_fields
from .model import GeneratorModel
from .trajectories import TrajectorySet


@torch.no_grad()
def field_portrait(
    model: GeneratorModel,
    states: Float[Tensor, "n n_x"],
    name: str,
    title: str,
    channels: tuple[int, int] = (0, 1),
    axis_labels: tuple[str, str] = ("x0", "x1"),
) -> Figure:
    """DΨ(z) G_s z and DΨ(z) G_d z at states, side by side on one scale, in the plane of two channels.

    Args:
        model: a model with a generator; it is put into evaluation mode.
        states: where the arrows stand, physical units; a few hundred are readable.
        name: file-name stem.
        title: of the picture.
        channels: the plane.
        axis_labels: names of the two channels.
    """
    model.eval()
    pair = list(channels)
    fields = model.fields(states.to(model.scaler.mean))
    drawn = [
        PlaneField(label, states[:, pair].cpu(), field[:, pair].float().cpu())
        for label, field in (("transport", fields.transport), ("dissipation", fields.dissipation))
    ]
    return vector_fields(
        name,
        drawn,
        axis_labels,
        title,
        f"{title}. Arrows in the plane of {axis_labels[0]} and {axis_labels[1]}: on the left the transport field, on the right "
        "the dissipation field, on one scale of colours and lengths.",
    )


@torch.no_grad()
def rate_portrait(
    model: GeneratorModel,
    states: Float[Tensor, "n n_x"],
    name: str,
    title: str,
    channels: tuple[int, int] = (0, 1),
    axis_labels: tuple[str, str] = ("x0", "x1"),
) -> Figure:
    """States in the plane of two channels, coloured by the energy rate ρ_d and by the largest local frequency."""
    found = read_out(model, states.to(model.scaler.mean))
    maps = [
        ColourMap("energy rate ρ_d of the latent state", found.energy_rate.float().cpu(), centred=True),
        ColourMap("largest local frequency", found.frequencies[:, -1].float().cpu()),
    ]
    return attractor_maps(
        name,
        states[:, list(channels)].cpu(),
        maps,
        axis_labels,
        title,
        f"{title}. States in the plane of {axis_labels[0]} and {axis_labels[1]}, twice: coloured by the rate at which the latent "
        "norm grows or decays, and by the largest local frequency.",
    )


def portraits(model: GeneratorModel, data: TrajectorySet) -> list[Figure]:
    """Both portraits over the states of trajectories, in the plane of the first and the last channel."""
    states = torch.cat(data.trajectories)
    channels = (0, data.n_x - 1)
    labels = (f"x{channels[0]}", f"x{channels[1]}")
    name = str(data.meta.get("system", "system"))
    stem = name.replace("_", "-")
    many, few = (states[:: max(1, -(-len(states) // count))] for count in (4000, 350))
    return [
        field_portrait(model, few, f"{stem}-fields", f"Learned fields over {name}", channels, labels),
        rate_portrait(model, many, f"{stem}-maps", f"Rates and frequencies over {name}", channels, labels),
    ]
