"""What KoopGen is compared with, behind the same interface (NOTES: §4): same encoder and decoder, loss and budget.

LRAN                   z -> K z, one matrix
DeepKoopman            pairs that rotate and grow at rates of their own, given by small networks of the pair
ConstantGenerator      KoopGen with frozen uniform weights: z -> exp(Δt Ḡ) z (P8)
UnstructuredGenerator  gate and bases, neither skew nor symmetric: the mixture of the sibling code base CocycleNet
ResidualMLP            x -> x + f(x), no latent space
NeuralODE              dx/dt = f(x), no latent space
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_above_zero, check_choice, check_last, check_positive
from .gates import MixtureGate
from .generators import FIELDS, Generator, GeneratorParts, real_block
from .latent import Advance, LatentModel
from .model import TARGET, GeneratorModel, KoopGen, default_time_scale
from .nets import ACTIVATIONS, MLP


class LRAN(LatentModel):
    """Linearly recurrent autoencoder: one matrix, the same for every state.

    Args:
        n_x, d, dt, hidden, layers, act, normalisation, mean, std: see `LatentModel`.
        init: "identity": z -> K z with K = I + N(0, 0.01²), a map from sample to sample. "matrix_exp": K = exp(L), L = N(0, 0.01²), for
            any length of step.

    Example:
        >>> LRAN(3, 6, dt=0.01).forecast(torch.zeros(8, 3), steps=5).shape
        torch.Size([8, 6, 3])
    """

    def __init__(self, n_x: int, d: int, *, dt: float, init: str = "identity", **options: Any):
        super().__init__(n_x, d, dt=dt, **options)
        check_choice("init", init, ("identity", "matrix_exp"))
        self.config |= {"init": init}
        self.init, self.continuous = init, init == "matrix_exp"
        start = torch.eye(d) if init == "identity" else torch.zeros(d, d)
        self.operator = nn.Parameter(start + 0.01 * torch.randn(d, d))

    def group_of(self, name: str) -> str:
        return "bases" if name == "operator" else "main"

    def bind(self) -> Advance:
        if not self.continuous:
            return lambda z, h: z @ self.operator.mT
        powers: dict[float, Tensor] = {}

        def advance(z: Tensor, h: float) -> Tensor:
            if h not in powers:
                powers[h] = torch.matrix_exp(self.operator * (h / float(self.dt)))
            return z @ powers[h].mT

        return advance

    def velocity(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        if not self.continuous:
            raise ValueError(
                "LRAN(init='identity') is a map from sample to sample: it has no time derivative; use init='matrix_exp'"
            )
        return z @ self.operator.mT / float(self.dt)


class DeepKoopman(LatentModel):
    """Pairs of latent components, each turning at ω and growing at μ, given by a network of its own (Lusch et al.).

    The pairs are adjacent components (2i, 2i + 1): z -> exp(μ τ) [[cos ωτ, -sin ωτ], [sin ωτ, cos ωτ]] z.

    Args:
        n_x, d, dt, hidden, layers, act, normalisation, mean, std: see `LatentModel`; d even.
        radius: the networks see the squared radius of the pair (pendulum), otherwise the pair itself.
        width: of these networks of two linear layers.
        time_scale: unit of ω and μ; None takes 0.2/Δt, the unit KoopGen starts with.

    Example:
        >>> DeepKoopman(3, 6, dt=0.01).forecast(torch.zeros(8, 3), steps=5).shape
        torch.Size([8, 6, 3])
    """

    def __init__(
        self,
        n_x: int,
        d: int,
        *,
        dt: float,
        radius: bool = False,
        width: int = 64,
        time_scale: float | None = None,
        **options: Any,
    ):
        super().__init__(n_x, d, dt=dt, **options)
        check_positive(width=width)
        if d % 2:
            raise ValueError(f"d must be even, DeepKoopman has d/2 pairs; got {d}")
        self.time_scale = TARGET / dt if time_scale is None else time_scale
        check_above_zero(time_scale=self.time_scale)
        self.config |= {"radius": radius, "width": width, "time_scale": self.time_scale}
        self.radius = radius
        inputs, pairs = (1 if radius else 2), d // 2
        # As torch's linear layers: uniform within 1/sqrt(fan-in), biases at zero.
        self.first = nn.Parameter((torch.rand(pairs, inputs, width) * 2 - 1) * inputs**-0.5)
        self.first_bias = nn.Parameter(torch.zeros(pairs, 1, width))
        self.last = nn.Parameter((torch.rand(pairs, width, 2) * 2 - 1) * width**-0.5)
        self.last_bias = nn.Parameter(torch.zeros(pairs, 1, 2))
        self.activation = ACTIVATIONS[self.config["act"]]()

    def group_of(self, name: str) -> str:
        return "gate" if name.startswith(("first", "last")) else "main"

    def rates(
        self, z: Float[Tensor, "... d"]
    ) -> tuple[Float[Tensor, "... pairs"], Float[Tensor, "... pairs"]]:
        """(ω, μ) of each pair, per unit of physical time."""
        pairs = z.reshape(-1, self.d // 2, 2).transpose(0, 1)  # p b 2
        if self.radius:
            pairs = pairs.square().sum(-1, keepdim=True)
        inner = self.activation(torch.baddbmm(self.first_bias, pairs, self.first))
        rates = torch.baddbmm(self.last_bias, inner, self.last) * self.time_scale
        omega, mu = rates.permute(2, 1, 0).reshape(2, *z.shape[:-1], self.d // 2)
        return omega, mu

    def bind(self) -> Advance:
        def advance(z: Tensor, h: float) -> Tensor:
            omega, mu = self.rates(z)
            a, b = z.unflatten(-1, (-1, 2)).unbind(-1)
            size, cos, sin = torch.exp(mu * h), torch.cos(omega * h), torch.sin(omega * h)
            return torch.stack([size * (cos * a - sin * b), size * (sin * a + cos * b)], -1).flatten(-2)

        return advance

    def velocity(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        omega, mu = self.rates(z)
        a, b = z.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([mu * a - omega * b, omega * a + mu * b], -1).flatten(-2)


class UniformGate(nn.Module):
    """Weights 1/m_skew and 1/m_self, whatever the state."""

    def __init__(self, m_skew: int, m_self: int):
        super().__init__()
        self.m_skew, self.m_self = m_skew, m_self

    def forward(self, z: Float[Tensor, "... d"]) -> tuple[Tensor, Tensor]:
        """The same for every z."""
        shape = z.shape[:-1]
        alpha = z.new_full((*shape, self.m_skew), 1 / max(self.m_skew, 1))
        return alpha, z.new_full((*shape, self.m_self), 1 / max(self.m_self, 1))


class ConstantGenerator(KoopGen):
    """KoopGen with a frozen uniform gate: the linear recurrence z -> exp(Δt Ḡ) z, the state-independent control (P8).

    Takes the arguments of `KoopGen`; those of the gate have no effect, and the exponential is computed once for a roll-out.

    Example:
        >>> model = ConstantGenerator(2, 2, dt=0.05)
        >>> generators = model.generator(torch.randn(5, 2))
        >>> torch.equal(generators[0], generators[1])
        True
    """

    def _make_gate(self, gate: str) -> nn.Module:
        check_choice("gate", gate, ("softmax",))
        return UniformGate(self.config["m_skew"], self.config["m_self"])

    def bind(self) -> Advance:
        G = self.generator(self.generator.scale.new_zeros(self.d).to(self.dtype))
        powers: dict[float, Tensor] = {}

        def advance(z: Tensor, h: float) -> Tensor:
            if h not in powers:
                columns = torch.eye(self.d, dtype=z.dtype, device=z.device)
                for _ in range(self.substeps):
                    columns = self.propagate(G.expand(self.d, -1, -1), columns, tau=h / self.substeps)
                powers[h] = columns  # row i is exp(h G) e_i
            return z @ powers[h]

        return advance


class UnstructuredBases(Generator):
    """G(z) = scale sum_i w_i(z) R(A_i, B_i) with one softmax over all and no symmetry imposed.

    `parts` splits G into its skew and symmetric part after the fact, for the same read-outs.
    """

    def __init__(self, d: int, m: int, field: str, gate: MixtureGate, scale: float):
        super().__init__()
        check_positive(d=d, m=m)
        check_choice("field", field, FIELDS)
        if field == "complex" and d % 2:
            raise ValueError(f"d must be even for field='complex', got {d}: use d = {d + 1} or field='real'")
        check_above_zero(scale=scale)
        self.d, self.field, self.gate = d, field, gate
        size = d // 2 if field == "complex" else d
        self.free = nn.Parameter(torch.randn(m, 2 if field == "complex" else 1, size, size) * size**-0.5)
        self.register_buffer("scale", torch.tensor(float(scale)))

    def _matrix(self, weights: Tensor, free: Tensor) -> Tensor:
        mixed = (weights @ free).unflatten(-1, self.free.shape[1:])
        if self.field == "real":
            return mixed[..., 0, :, :]
        return real_block(mixed[..., 0, :, :], mixed[..., 1, :, :])

    def prepare(self) -> Float[Tensor, "m dd"]:
        """The free numbers A, B of the bases, scaled, one basis a row."""
        return self.free.flatten(1) * self.scale

    def at(self, z: Float[Tensor, "*b d"], prepared: Float[Tensor, "m dd"]) -> Float[Tensor, "*b d d"]:
        """G(z)."""
        return self._matrix(self.gate(z)[0], prepared)

    def parts(self, z: Float[Tensor, "*b d"]) -> GeneratorParts:
        """Skew and symmetric part of G(z); all weights are alpha."""
        check_last("z", z, self.d, "d")
        alpha, beta = self.gate(z)
        G = self._matrix(alpha, self.prepare())
        return GeneratorParts((G - G.mT) / 2, (G + G.mT) / 2, alpha, beta)


class UnstructuredGenerator(GeneratorModel):
    """Gate and bases without structure; `m` bases, otherwise the arguments of `KoopGen`.

    Example:
        >>> model = UnstructuredGenerator(3, 6, dt=0.01, m=10)
        >>> model.forecast(torch.zeros(8, 3), steps=5).shape
        torch.Size([8, 6, 3])
    """

    def __init__(
        self,
        n_x: int,
        d: int,
        *,
        dt: float,
        m: int = 4,
        gate_hidden: int | None = None,
        gate_layers: int = 2,
        noise: float = 1.0,
        noise_steps: int = 15_000,
        field: str = "complex",
        propagator: str = "taylor",
        order: int | None = None,
        substeps: int = 1,
        scaling: int | None = None,
        compile: bool = False,
        time_scale: float | None = None,
        **options: Any,
    ):
        super().__init__(n_x, d, dt=dt, **options)
        check_positive(m=m)
        self._set_propagator(propagator, order, substeps, scaling, compile)
        scale = default_time_scale(dt, m) if time_scale is None else time_scale
        self.config |= {
            "m": m, "gate_hidden": gate_hidden, "gate_layers": gate_layers, "noise": noise, "noise_steps": noise_steps,
            "field": field, "time_scale": scale,
        }  # fmt: skip
        gate = MixtureGate(
            d, m, 0, gate_hidden or self.config["hidden"], gate_layers, "softmax", noise, noise_steps
        )
        self.generator = UnstructuredBases(d, m, field, gate, scale)


class _StateModel(LatentModel):
    """A model that rolls out the normalised state itself; d is not used."""

    def __init__(self, n_x: int, d: int | None = None, *, dt: float, **options: Any):
        super().__init__(n_x, n_x, dt=dt, lift=False, **options)
        self.config["d"] = d
        self.net = MLP(n_x, n_x, self.config["hidden"], self.config["layers"], self.config["act"])


class ResidualMLP(_StateModel):
    """x̃ -> x̃ + f(x̃) on the normalised state, one network of `layers` linear layers: the reference without a latent space.

    Args:
        n_x, dt, hidden, layers, act, normalisation, mean, std: see `LatentModel`.
        d: not used (the latent state is the normalised state, encoder and decoder are identities); taken so that all
            models are built from the same arguments.

    Example:
        >>> model = ResidualMLP(3, dt=0.01)
        >>> model.d, model.forecast(torch.zeros(8, 3), steps=5).shape
        (3, torch.Size([8, 6, 3]))
    """

    continuous = False

    def bind(self) -> Advance:
        return lambda z, h: z + self.net(z)


class NeuralODE(_StateModel):
    """dx̃/dt = f(x̃) on the normalised state, `substeps` steps of the classical Runge–Kutta method in one Δt.

    Args:
        n_x, dt, hidden, layers, act, normalisation, mean, std: see `LatentModel`.
        d: not used, see `ResidualMLP`.
        substeps: Runge–Kutta steps in one interval.
        time_scale: unit of f; None takes 0.2/Δt.

    Example:
        >>> NeuralODE(3, dt=0.01).derivative(torch.zeros(8, 3)).shape
        torch.Size([8, 3])
    """

    def __init__(
        self,
        n_x: int,
        d: int | None = None,
        *,
        dt: float,
        substeps: int = 1,
        time_scale: float | None = None,
        **options: Any,
    ):
        super().__init__(n_x, d, dt=dt, **options)
        check_positive(substeps=substeps)
        self.time_scale = TARGET / dt if time_scale is None else time_scale
        check_above_zero(time_scale=self.time_scale)
        self.config |= {"substeps": substeps, "time_scale": self.time_scale}
        self.substeps = substeps

    def velocity(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return self.time_scale * self.net(z)

    def bind(self) -> Advance:
        def advance(z: Tensor, h: float) -> Tensor:
            r = h / self.substeps
            for _ in range(self.substeps):
                k1 = self.velocity(z)
                k2 = self.velocity(z + r / 2 * k1)
                k3 = self.velocity(z + r / 2 * k2)
                k4 = self.velocity(z + r * k3)
                z = z + r / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return z

        return advance


MODELS: dict[str, Callable[..., LatentModel]] = {
    "koopgen": KoopGen,
    "lran": LRAN,
    "lran_matrix_exp": partial(LRAN, init="matrix_exp"),
    "deep_koopman": DeepKoopman,
    "constant_generator": ConstantGenerator,
    "unstructured_generator": UnstructuredGenerator,
    "residual_mlp": ResidualMLP,
    "neural_ode": NeuralODE,
}


def build_model(name: str, n_x: int, d: int, *, dt: float, **options: Any) -> LatentModel:
    """A model by its name in `MODELS`; `options` are those of its class.

    Example:
        >>> type(build_model("lran", 3, 6, dt=0.01, hidden=32)).__name__
        'LRAN'
    """
    check_choice("name", name, list(MODELS))
    return MODELS[name](n_x, d, dt=dt, **options)
