"""KoopGen: a latent model whose generator depends on the state and is skew plus self-adjoint exactly (NOTES: §3).

z_{k+1} = exp(Δt G(z_k)) z_k,      G(z) = G_s(z) + G_d(z) per unit of physical time
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .arguments import check_above_zero, check_count, check_positive
from .generators import CartesianGenerator, Generator, GeneratorParts
from .latent import Advance, LatentModel
from .propagators import get_propagator, growth_bound

TARGET = 0.2  # Δt times the norm of the generator at the start (NOTES: §10.6 asks for 0.1 to 0.5)


@dataclass(frozen=True)
class Fields:
    """Velocities of the physical state that the two parts of the generator cause: DΨ(z) G_s z and DΨ(z) G_d z."""

    transport: Float[Tensor, "... n_x"]
    dissipation: Float[Tensor, "... n_x"]


@dataclass(frozen=True)
class Certificate:
    """What the growth rates along a roll-out allow, and what it did (P3).

    Args:
        z: the roll-out, z0 at index 0.
        log_norm: log ||z_k||.
        log_bound: log ||z_0|| + sum of the largest growth of each step up to k; never below `log_norm` but for round-off.
    """

    z: Float[Tensor, "b n d"]
    log_norm: Float[Tensor, "b n"]
    log_bound: Float[Tensor, "b n"]

    @property
    def excess(self) -> Float[Tensor, "b"]:
        """Largest log_norm - log_bound of each roll-out: positive only by round-off, or the certificate is violated."""
        return (self.log_norm - self.log_bound).amax(-1)

    @property
    def holds(self) -> Bool[Tensor, "b"]:
        """Whether the bound held at every step, up to 32 units of round-off a step; False where a state is not finite."""
        steps = self.z.shape[1]
        return self.excess <= 32 * steps * torch.finfo(self.z.dtype).eps


class GeneratorModel(LatentModel):
    """A latent model advanced by the exponential of a generator G(z), with the read-outs of §3.10.

    All rates and frequencies are per unit of physical time; they belong to one state and are not global Koopman
    eigenvalues. A subclass sets `generator`.
    """

    generator: Generator

    def _set_propagator(
        self, propagator: str, order: int | None, substeps: int, scaling: int | None, compile: bool
    ) -> None:
        check_positive(substeps=substeps)
        self.propagate = get_propagator(propagator, order, scaling)
        if compile and scaling is None:
            raise ValueError(
                "compile=True needs propagator='taylor' with scaling=s: choosing s would wait for the device in every step; "
                "take s of at least Δt times the 1-norm of G"
            )
        self.propagator, self.substeps = propagator, substeps
        self.compiled = compile
        self.config |= {
            "propagator": propagator, "order": order, "substeps": substeps, "scaling": scaling, "compile": compile
        }  # fmt: skip

    def _advance(self, z: Tensor, prepared: Tensor, h: float = 1.0) -> Tensor:
        for _ in range(self.substeps):
            z = self.propagate(self.generator.at(z, prepared), z, tau=h)
        return z

    def bind(self) -> Advance:
        prepared = self.generator.prepare()
        if not self.compiled:
            return lambda z, h: self._advance(z, prepared, h / self.substeps)
        # Wrapped anew for each roll-out, so that a copy of the model does not run the original; torch compiles once.
        compiled = torch.compile(self._advance, fullgraph=True)
        scaled: dict[float, Tensor] = {}  # times h beforehand: numbers would be compiled into the step

        def advance(z: Tensor, h: float) -> Tensor:
            if h not in scaled:
                scaled[h] = prepared * (h / self.substeps)
            return compiled(z, scaled[h])

        return advance

    def velocity(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return (self.generator(z) @ z[..., None])[..., 0]

    def group_of(self, name: str) -> str:
        if not name.startswith("generator."):
            return "main"
        return "gate" if name.startswith("generator.gate") else "bases"

    def parts(self, x: Float[Tensor, "... n_x"]) -> GeneratorParts:
        """The parts of the generator, and the weights of the gate, at physical states."""
        return self.generator.parts(self.encode(x))

    def fields(self, x: Float[Tensor, "... n_x"]) -> Fields:
        """The velocity of the state split into what the skew part and what the self-adjoint part cause; the sum is `derivative`."""
        z = self.encode(x)
        parts = self.generator.parts(z)
        transport = (parts.skew @ z[..., None])[..., 0]
        dissipation = (parts.self_adjoint @ z[..., None])[..., 0]
        return Fields(self.push_forward(z, transport), self.push_forward(z, dissipation))

    def local_frequencies(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... half"]:
        """|Im eig G_s(z)|, ascending, the d/2 of them (rounded down), in radians per unit of physical time."""
        values = torch.linalg.eigvalsh(1j * self.parts(x).skew)
        return values[..., -(self.d // 2) :].clamp(min=0)

    def local_rates(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... d"]:
        """eig G_d(z), ascending, per unit of physical time: below 0 decay, above 0 growth."""
        return torch.linalg.eigvalsh(self.parts(x).self_adjoint)

    @torch.no_grad()
    def log_norm_certificate(self, z0: Float[Tensor, "b d"], steps: int) -> Certificate:
        """Roll out from z0 and compare the norm with the bound exp(Δt sum_k λ_max(G_d(z_k))) on the way (P3).

        Every one of the `substeps` counts with its own generator. For the Cayley step the bound is the one of `growth_bound`.
        """
        check_count(steps=steps)
        h = float(self.dt) / self.substeps
        z = z0.to(self.dtype)
        states, growth = [z], [torch.zeros_like(z[..., 0])]
        for _ in range(steps):
            total = torch.zeros_like(growth[0])
            for _ in range(self.substeps):
                parts = self.generator.parts(z)
                total = total + growth_bound(self.propagator, h * _largest(parts.self_adjoint))
                z = self.propagate(parts.total, z, tau=h)
            states.append(z)
            growth.append(total)
        trajectory = torch.stack(states, 1)
        log_norm = trajectory.norm(dim=-1).log()
        return Certificate(trajectory, log_norm, log_norm[:, :1] + torch.stack(growth, 1).cumsum(1))


class KoopGen(GeneratorModel):
    """Koopman generator network.

    Args:
        n_x, d: sizes of the state and of the latent state; d even for field="complex".
        dt: sampling interval of the training data, in physical time.
        m_skew, m_self: numbers of skew and of self-adjoint bases. At least 2 in one group, or nothing depends on the state.
        hidden, layers, act: of encoder and decoder, see `MLP`.
        gate_hidden, gate_layers: of the gate; `gate_hidden=None` takes `hidden`.
        gate, noise, noise_steps: see `MixtureGate`.
        field, dissipation, cap: see `CartesianGenerator`; cap is per unit of physical time.
        propagator: "taylor", "expm" or "cayley", see `koopgen.propagators`.
        order: of "taylor"; None: 12 in float32, 18 in float64, which is round-off.
        substeps: frozen-generator steps in one Δt. 1 is the discrete map of the paper; more approximate ż = G(z) z.
        scaling: of "taylor", fixed; None looks at the norm of G in each step.
        compile: run the latent step through torch.compile, as one graph; needs `scaling`. On a CPU it was not faster.
        time_scale: unit of the generator. None chooses it such that Δt ||G|| is about 0.2 at the start.
        normalisation, mean, std: see `Scaler`.

    Example:
        >>> model = KoopGen(3, 6, dt=0.01, m_skew=5, m_self=5).eval()
        >>> x0 = torch.randn(8, 3)
        >>> model.forecast(x0, steps=20).shape, model.forecast(x0, t=torch.tensor([0.0, 0.004, 0.05])).shape
        (torch.Size([8, 21, 3]), torch.Size([8, 3, 3]))
        >>> fields = model.fields(x0)
        >>> torch.allclose(fields.transport + fields.dissipation, model.derivative(x0), atol=1e-5)
        True
    """

    generator: CartesianGenerator

    def __init__(
        self,
        n_x: int,
        d: int,
        *,
        dt: float,
        m_skew: int = 2,
        m_self: int = 2,
        hidden: int = 64,
        layers: int = 3,
        act: str = "silu",
        gate_hidden: int | None = None,
        gate_layers: int = 2,
        gate: str = "softmax",
        noise: float = 1.0,
        noise_steps: int = 15_000,
        field: str = "complex",
        dissipation: str = "free",
        cap: float | None = None,
        propagator: str = "taylor",
        order: int | None = None,
        substeps: int = 1,
        scaling: int | None = None,
        compile: bool = False,
        time_scale: float | None = None,
        normalisation: str = "none",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ):
        super().__init__(
            n_x, d, dt=dt, hidden=hidden, layers=layers, act=act, normalisation=normalisation, mean=mean, std=std
        )  # fmt: skip
        self._set_propagator(propagator, order, substeps, scaling, compile)
        scale = default_time_scale(dt, max(m_skew, m_self)) if time_scale is None else time_scale
        check_above_zero(time_scale=scale)
        self.config |= {
            "m_skew": m_skew, "m_self": m_self, "gate_hidden": gate_hidden, "gate_layers": gate_layers, "gate": gate,
            "noise": noise, "noise_steps": noise_steps, "field": field, "dissipation": dissipation, "cap": cap,
            "time_scale": scale,
        }  # fmt: skip
        self.generator = CartesianGenerator(
            d, m_skew, m_self, field=field, dissipation=dissipation, cap=cap, gate=self._make_gate(gate),
            hidden=gate_hidden or hidden, layers=gate_layers, noise=noise, noise_steps=noise_steps, scale=scale,
        )  # fmt: skip

    def _make_gate(self, gate: str) -> str | nn.Module:
        return gate


def default_time_scale(dt: float, m: int) -> float:
    """The unit in which a uniform mixture of m random bases of norm about 2 turns by about 0.2 in one interval (§10.6)."""
    return TARGET / dt * max(m, 1) ** 0.5 / 2


def _largest(symmetric: Float[Tensor, "b d d"]) -> Float[Tensor, "b"]:
    """λ_max, NaN where the matrix is not finite (eigvalsh would raise)."""
    finite = torch.isfinite(symmetric).all(-1).all(-1)
    values = torch.linalg.eigvalsh(torch.where(finite[:, None, None], symmetric, 0))[..., -1]
    return torch.where(finite, values, torch.nan)
