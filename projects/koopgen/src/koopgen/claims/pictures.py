"""The portraits of the claims: which states, which plane, which words."""

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure

from ..model import GeneratorModel
from ..oscillations import pendulum_energy
from ..portraits import field_portrait, rate_portrait


def phase_space(n: int = 41, energy_cap: float = 0.99) -> Float[Tensor, "k 2"]:
    """A grid over the pendulum's plane, its states below the energy cap of the data; rest is left out: z may be 0 there."""
    grid = torch.cartesian_prod(torch.linspace(-3.1, 3.1, n), torch.linspace(-2.0, 2.0, n))
    return grid[(pendulum_energy(grid) <= energy_cap) & (grid.norm(dim=1) > 1e-6)]


def pendulum_figures(parsimonious: GeneratorModel, damped: GeneratorModel) -> list[Figure]:
    """Transport and dissipation over the plane, without and with friction."""
    labels = ("angle θ", "angular velocity")
    return [
        field_portrait(
            model, phase_space(17), name, f"What the generator learned of the {what}", (0, 1), labels
        )
        for name, model, what in (
            ("pendulum-fields", parsimonious, "pendulum"),
            ("damped-pendulum-fields", damped, "damped pendulum"),
        )
    ]


def lorenz_figures(model: GeneratorModel, x: Float[Tensor, "n t 3"]) -> list[Figure]:
    """Maps over the attractor, and the two fields, in the plane of x and z."""
    states = x[:, ::10].flatten(0, 1)[:4000]
    few = states[:: max(1, len(states) // 350)]
    title = "Lorenz-63: growth, decay and rotation where they happen"
    return [
        rate_portrait(model, states, "lorenz-maps", title, (0, 2), ("x", "z")),
        field_portrait(
            model, few, "lorenz-fields", "What the generator learned of Lorenz-63", (0, 2), ("x", "z")
        ),
    ]
