"""The fields and maps of trained generators as pictures, from the states they are drawn at."""

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure

from ..analysis import read_out
from ..maps import ColourMap, PlaneField, attractor_maps, vector_fields
from ..model import GeneratorModel


def phase_space(n: int = 41, energy_cap: float = 0.99) -> Float[Tensor, "k 2"]:
    """A grid over the pendulum's plane, its states below the energy cap of the data, rest left out: there is nothing to divide there."""
    grid = torch.cartesian_prod(torch.linspace(-3.1, 3.1, n), torch.linspace(-2.0, 2.0, n))
    energy = 0.5 * grid[:, 1] ** 2 - grid[:, 0].cos()
    return grid[(energy <= energy_cap) & (grid.norm(dim=1) > 1e-6)]


def pendulum_figures(parsimonious: GeneratorModel, damped: GeneratorModel) -> list[Figure]:
    """Transport and dissipation over the plane, without and with friction."""
    made = []
    for name, model, what in (
        ("pendulum-fields", parsimonious, "pendulum"),
        ("damped-pendulum-fields", damped, "damped pendulum"),
    ):
        points = phase_space(17)
        with torch.no_grad():
            fields = model.fields(points.to(model.scaler.mean))
        made.append(
            vector_fields(
                name,
                [
                    PlaneField("transport", points, fields.transport.cpu()),
                    PlaneField("dissipation", points, fields.dissipation.cpu()),
                ],
                ("angle θ", "angular velocity"),
                f"What the generator learned of the {what}",
                f"Arrows over the plane of the {what}: the transport field circles about rest, the dissipation field "
                "beside it on the same scale of colours and lengths.",
            )
        )
    return made


def lorenz_figures(model: GeneratorModel, x: Float[Tensor, "n t 3"]) -> list[Figure]:
    """Maps over the attractor, and the two fields in the plane (x, z)."""
    states = x[:, ::10].flatten(0, 1)[:4000]
    found = read_out(model, states)
    plane = states[:, [0, 2]].cpu()
    maps = attractor_maps(
        "lorenz-maps",
        plane,
        [
            ColourMap("energy rate ρ_d of the latent state", found.energy_rate.cpu(), centred=True),
            ColourMap("largest local frequency", found.frequencies[:, -1].cpu()),
        ],
        ("x", "z"),
        "Lorenz-63: growth, decay and rotation where they happen",
        "The Lorenz attractor in the plane of x and z, twice: coloured by the rate at which the latent norm grows or decays, and by "
        "the largest local frequency.",
    )
    few = states[:: max(1, len(states) // 350)]
    with torch.no_grad():
        fields = model.fields(few)
    drawn = [
        PlaneField(label, few[:, [0, 2]].cpu(), field[:, [0, 2]].cpu())
        for label, field in (("transport", fields.transport), ("dissipation", fields.dissipation))
    ]
    arrows = vector_fields(
        "lorenz-fields",
        drawn,
        ("x", "z"),
        "What the generator learned of Lorenz-63",
        "Arrows at states of the Lorenz attractor in the plane of x and z: the learned transport field and the learned "
        "dissipation field, on one scale.",
    )
    return [maps, arrows]
