"""What KoopGen and all its baselines share: lift one state, roll out in latent space, read out (NOTES: §3.2, §9).

    z_0 = encode(x_0),   z_{k+1} = step(z_k),   x_k = decode(z_k)

A forecast sees the single first state and no history, and is never decoded and encoded again between steps.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from .arguments import check_above_zero, check_count, check_finite, check_last, check_positive
from .nets import MLP
from .scaler import Scaler

Advance = Callable[[Tensor, float], Tensor]


class DivergenceWarning(RuntimeWarning):
    """A roll-out turned NaN or infinite."""


class SamplingIntervalWarning(UserWarning):
    """Data and model have different sampling intervals."""


@dataclass(frozen=True)
class Forecast:
    """A forecast that says where it stopped being one.

    Args:
        x: states in physical units; index 0 is the reconstruction of the first state.
        t: physical times, 0 at the first state.
        finite: per roll-out, whether all of it is finite.
        first_bad: per roll-out, the first index that is NaN or infinite; -1 where there is none.
    """

    x: Float[Tensor, "b n n_x"]
    t: Float[Tensor, "n"]
    finite: Bool[Tensor, "b"]
    first_bad: Int[Tensor, "b"]


def first_bad_index(x: Float[Tensor, "b n c"]) -> tuple[Bool[Tensor, "b"], Int[Tensor, "b"]]:
    """Per roll-out: whether all of it is finite, and the first index that is not, or -1.

    Example:
        >>> first_bad_index(torch.tensor([[[0.0], [1.0]], [[0.0], [torch.nan]]]))
        (tensor([ True, False]), tensor([-1,  1]))
    """
    bad = ~torch.isfinite(x).all(-1)
    any_bad = bad.any(-1)
    first = bad.to(torch.uint8).argmax(-1) if x.shape[-2] else any_bad.long()
    return ~any_bad, torch.where(any_bad, first, -1)


class LatentModel(PretrainedMixin, nn.Module):
    """Base of all models: scaler, encoder, decoder, and a latent step that the subclass gives with `bind`.

    `encoder` and `decoder` work on normalised states; `encode` and `decode` on physical ones.

    Args:
        n_x: size of the state.
        d: size of the latent state.
        dt: sampling interval Δt of the training data, in physical time; one latent step.
        hidden, layers, act: of encoder and decoder, see `MLP`. `lift=False` leaves them out: the latent state is the normalised state.
        normalisation, mean, std: see `Scaler`.
    """

    continuous = True  # whether a step may have any length; otherwise multiples of dt
    dt: Tensor

    def __init__(
        self,
        n_x: int,
        d: int,
        *,
        dt: float,
        hidden: int = 64,
        layers: int = 3,
        act: str = "silu",
        normalisation: str = "none",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        lift: bool = True,
    ):
        super().__init__()
        check_positive(n_x=n_x, d=d, hidden=hidden, layers=layers)
        check_above_zero(dt=dt)
        self.n_x, self.d = n_x, d
        self.config: dict[str, Any] = {
            "n_x": n_x, "d": d, "dt": float(dt), "hidden": hidden, "layers": layers, "act": act,
            "normalisation": normalisation, "mean": mean, "std": std,
        }  # fmt: skip
        self.register_buffer("dt", torch.tensor(float(dt), dtype=torch.float64))
        self.scaler = Scaler(n_x, normalisation, mean, std)
        self.encoder: nn.Module = MLP(n_x, d, hidden, layers, act) if lift else nn.Identity()
        self.decoder: nn.Module = MLP(d, n_x, hidden, layers, act) if lift else nn.Identity()

    def bind(self) -> Advance:
        """The function (z, h) -> z after the physical time h, with what does not depend on z computed once."""
        raise NotImplementedError

    def velocity(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """dz/dt per unit of physical time."""
        raise ValueError(f"{type(self).__name__} is a map from sample to sample: it has no time derivative")

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by learning rate: "main" (networks), "bases" (matrices of the operator), "gate"."""
        groups: dict[str, list[nn.Parameter]] = {"main": [], "bases": [], "gate": []}
        for name, parameter in self.named_parameters():
            groups[self.group_of(name)].append(parameter)
        return groups

    def group_of(self, name: str) -> str:
        """The group of the parameter `name`."""
        return "main"

    def encode(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... d"]:
        """Physical states of shape (n_x,), (B, n_x), (B, T, n_x), …, to latent ones; NaN and infinity are refused."""
        check_last("x", x, self.n_x, "n_x, the size of the state")
        check_finite("x", x)
        return self.encoder(self.scaler.normalize(x))

    def decode(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... n_x"]:
        """Latent states to physical ones."""
        check_last("z", z, self.d, "d, the size of the latent state")
        return self.scaler.denormalize(self.decoder(z))

    def forward(self, x0: Float[Tensor, "... n_x"], steps: int = 1) -> Float[Tensor, "... n n_x"]:
        """The same as `forecast` with a number of steps."""
        return self.forecast(x0, steps)

    def step(self, z: Float[Tensor, "... d"], dt: float | None = None) -> Float[Tensor, "... d"]:
        """One latent step of the physical time `dt`, the model's own interval by default."""
        check_last("z", z, self.d, "d, the size of the latent state")
        interval = float(self.dt)
        h = interval if dt is None else float(dt)
        check_above_zero(dt=h)
        advance = self.bind()
        if self.continuous:
            return advance(z, h)
        for _ in range(self._pieces(h, interval)[0]):
            z = advance(z, interval)
        return z

    def rollout(
        self,
        z0: Float[Tensor, "b d"],
        steps: int | None = None,
        t: Float[Tensor, "n"] | None = None,
        *,
        dt: float | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Latent states from z0 on, z0 at index 0. Give `steps` or `t`.

        Args:
            z0: the first latent state.
            steps: number N of steps; N + 1 states come back.
            t: times, increasing, not necessarily uniform; t[0] is the time of z0. A gap longer than the model's interval is
                taken in equal steps no longer than it, as the model was trained.
            dt: length of each of the `steps` when the data have another sampling interval; warns, and the step is rescaled.
        """
        check_last("z0", z0, self.d, "d, the size of the latent state")
        if z0.dim() != 2:
            raise ValueError(f"z0 must have shape (B, {self.d}), got {tuple(z0.shape)}")
        gaps, _ = self._gaps(steps, t, dt)
        interval = float(self.dt)
        with torch.autocast(z0.device.type, enabled=False):  # half precision would destroy orthogonality
            z = z0.to(self.dtype)
            states, advance = [z], self.bind()
            for gap in gaps:
                pieces, h = self._pieces(gap, interval)
                for _ in range(pieces):
                    z = advance(z, h)
                states.append(z)
            return torch.stack(states, 1)

    def forecast(
        self,
        x0: Float[Tensor, "... n_x"],
        steps: int | None = None,
        t: Float[Tensor, "n"] | None = None,
        *,
        dt: float | None = None,
    ) -> Float[Tensor, "... n n_x"]:
        """Physical states from x0 on; index 0 is the reconstruction of x0. Arguments as in `rollout`.

        Args:
            x0: (n_x,) gives (N+1, n_x); (B, n_x) gives (B, N+1, n_x); of (B, T, n_x) only the first sample of each trajectory is
                used, with a warning.

        Warns:
            DivergenceWarning: if a roll-out turned non-finite; `forecast_checked` says which and where, without a warning.
        """
        forecast = self.forecast_checked(x0, steps, t, dt=dt)
        bad = forecast.first_bad[~forecast.finite]
        if len(bad):
            warnings.warn(
                f"{len(bad)} of {len(forecast.finite)} roll-outs turned non-finite, the first at index {int(bad.min())}; "
                "forecast_checked returns the mask",
                DivergenceWarning,
                stacklevel=2,
            )
        return forecast.x[0] if x0.dim() == 1 else forecast.x

    def forecast_checked(
        self,
        x0: Float[Tensor, "... n_x"],
        steps: int | None = None,
        t: Float[Tensor, "n"] | None = None,
        *,
        dt: float | None = None,
    ) -> Forecast:
        """As `forecast`, together with the times, the mask of finite roll-outs and the first bad index of each."""
        check_last("x0", x0, self.n_x, "n_x, the size of the state")
        if x0.dim() > 3:
            raise ValueError(f"x0 must have shape (n_x,), (B, n_x) or (B, T, n_x), got {tuple(x0.shape)}")
        if x0.dim() == 3:
            warnings.warn(
                f"x0 of shape {tuple(x0.shape)} was taken as (B, T, n_x): the forecast starts at x0[:, 0] and sees nothing else",
                stacklevel=2,
            )
            x0 = x0[:, 0]
        _, times = self._gaps(steps, t, dt)
        x = self.decode(self.rollout(self.encode(x0.reshape(-1, self.n_x)), steps, t, dt=dt))
        finite, first_bad = first_bad_index(x)
        return Forecast(x, torch.tensor(times, dtype=x.dtype, device=x.device), finite, first_bad)

    def derivative(self, x: Float[Tensor, "... n_x"]) -> Float[Tensor, "... n_x"]:
        """dx/dt that the model gives at x, DΨ(z) ż with z = encode(x), per unit of physical time."""
        z = self.encode(x)
        return self.push_forward(z, self.velocity(z))

    def push_forward(self, z: Float[Tensor, "... d"], v: Float[Tensor, "... d"]) -> Float[Tensor, "... n_x"]:
        """DΨ(z) v: a latent velocity as a velocity of the physical state (forward mode)."""
        with warnings.catch_warnings():  # torch warns about itself when forward mode is loaded
            warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated", FutureWarning)
            return torch.func.jvp(self.decode, (z,), (v,))[1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the latent state."""
        return self.scaler.mean.dtype

    def _gaps(self, steps: int | None, t: Tensor | None, dt: float | None) -> tuple[list[float], list[float]]:
        """Lengths of the steps, and times from 0 on."""
        if (steps is None) == (t is None):
            raise ValueError(f"give either steps or t, got steps={steps} and t={t}")
        interval = float(self.dt)
        if t is not None:
            if dt is not None:
                raise ValueError("dt belongs to steps; t already says how long each step is")
            return _gaps_of_times(t)
        assert steps is not None
        check_count(steps=steps)
        h = interval if dt is None else float(dt)
        check_above_zero(dt=h)
        if not math.isclose(h, interval, rel_tol=1e-5):
            warnings.warn(
                f"dt={h:g} is not the sampling interval {interval:g} of the model; its steps are rescaled to dt",
                SamplingIntervalWarning,
                stacklevel=3,
            )
        return [h] * steps, [h * k for k in range(steps + 1)]

    def _pieces(self, gap: float, interval: float) -> tuple[int, float]:
        """How many steps of which length make up `gap`."""
        ratio = gap / interval
        nearest = max(1, round(ratio))
        if abs(ratio - nearest) <= (
            1e-4 if self.continuous else 1e-3
        ):  # times in float32 are not exact multiples
            return nearest, interval
        if not self.continuous:
            raise ValueError(
                f"{type(self).__name__} is a map from sample to sample: a step of {gap:g} is not a multiple of its interval {interval:g}"
            )
        pieces = max(1, math.ceil(ratio - 1e-3))
        return pieces, gap / pieces


def _gaps_of_times(t: Tensor) -> tuple[list[float], list[float]]:
    t = torch.as_tensor(t)
    if t.dim() != 1 or len(t) < 1:
        raise ValueError(f"t must have one axis with at least one time, got shape {tuple(t.shape)}")
    check_finite("t", t)
    times = t.double().tolist()
    for k, (a, b) in enumerate(itertools.pairwise(times)):
        if b <= a:
            raise ValueError(f"t must increase, got t[{k}] = {a:g} and t[{k + 1}] = {b:g}")
    return [b - a for a, b in itertools.pairwise(times)], [time - times[0] for time in times]
