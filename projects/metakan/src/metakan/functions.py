"""Target functions for regression: 18 formulas from Feynman's lectures, exp of a mean of sines, two demos.

Boxes and formulas are those of the notes §6 (the list of AI Feynman); points are uniform in the box. Where a
formula is singular on an edge of its box (I.10.7 and I.15.3x at v = c = 1), non-finite points are drawn again.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TargetFunction:
    """A function of several variables with the box it is sampled in.

    Args:
        name: "I.6.20a".
        expression: the formula as text, in the notation of Python and sympy.
        variables: names of the columns of x.
        box: lower and upper end for each variable.
        evaluate: maps the columns, each (n,), to the values (n,).

    Example:
        >>> f = feynman("I.12.1")
        >>> f.expression, f(torch.tensor([[0.5, -0.5]])).tolist()
        ('mu*N', [-0.25])
    """

    name: str
    expression: str
    variables: tuple[str, ...]
    box: Box = field(repr=False)
    evaluate: Callable[..., Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.variables) != len(self.box):
            raise ValueError(
                f"{self.name} has {len(self.variables)} variables but a box of {len(self.box)} sides"
            )

    @property
    def dim(self) -> int:
        return len(self.variables)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}) for {self.name}, got {tuple(x.shape)}")
        return self.evaluate(*x.unbind(-1))

    def sample(
        self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
        """`n` uniform points of the box and the values there; points with a non-finite value are drawn again.

        Raises:
            ValueError: if after 100 rounds some value is still not finite: the box lies outside the domain.
        """
        x = self._uniform(n, generator, dtype)
        y = self(x)
        for _ in range(100):
            bad = ~torch.isfinite(y)
            if not bad.any():
                return x, y
            x[bad] = self._uniform(int(bad.sum()), generator, dtype)
            y = self(x)
        raise ValueError(f"{self.name} is not finite at {int(bad.sum())} of {n} points of its box {self.box}")

    def normalise(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Map the box linearly to [−1, 1]^d, the grid range of a spline layer."""
        low, high = torch.tensor(self.box, dtype=x.dtype, device=x.device).unbind(-1)
        return (2 * x - low - high) / (high - low)

    def _uniform(self, n: int, generator: torch.Generator | None, dtype: torch.dtype) -> Float[Tensor, "n d"]:
        low, high = torch.tensor(self.box, dtype=dtype).unbind(-1)
        return low + (high - low) * torch.rand(n, self.dim, generator=generator, dtype=dtype)


def _formula(
    name: str, expression: str, box: dict[str, tuple[float, float]], f: Callable[..., Tensor]
) -> TargetFunction:
    return TargetFunction(name, expression, tuple(box), tuple(box.values()), f)


_UNIT = (-1.0, 1.0)
_POSITIVE = (0.0, 1.0)
_SCALE = (0.5, 2.0)
_NEAR, _FAR = (-1.0, -0.5), (0.5, 1.0)
_ROOT_2PI = math.sqrt(2 * math.pi)


def _gravity(G: Tensor, m1: Tensor, m2: Tensor, *p: Tensor) -> Tensor:
    x1, x2, y1, y2, z1, z2 = p
    return G * m1 * m2 / ((x2 - x1) ** 2 + (y2 - y1) ** 2 + (z2 - z1) ** 2)


_FORMULAS = [
    _formula(
        "I.6.20a",
        "exp(-theta**2/2)/sqrt(2*pi)",
        {"theta": (-3.0, 3.0)},
        lambda t: torch.exp(-(t**2) / 2) / _ROOT_2PI,
    ),
    _formula(
        "I.6.20",
        "exp(-theta**2/(2*sigma**2))/sqrt(2*pi*sigma**2)",
        {"theta": _UNIT, "sigma": _SCALE},
        lambda t, s: torch.exp(-(t**2) / (2 * s**2)) / (_ROOT_2PI * s),
    ),
    _formula(
        "I.6.20b",
        "exp(-(theta-theta1)**2/(2*sigma**2))/sqrt(2*pi*sigma**2)",
        {"theta": (-1.5, 1.5), "theta1": (-1.5, 1.5), "sigma": _SCALE},
        lambda t, t1, s: torch.exp(-((t - t1) ** 2) / (2 * s**2)) / (_ROOT_2PI * s),
    ),
    _formula(
        "I.8.4",
        "sqrt((x2-x1)**2+(y2-y1)**2)",
        {"x1": _UNIT, "x2": _UNIT, "y1": _UNIT, "y2": _UNIT},
        lambda x1, x2, y1, y2: torch.sqrt((x2 - x1) ** 2 + (y2 - y1) ** 2),
    ),
    _formula(
        "I.9.18",
        "G*m1*m2/((x2-x1)**2+(y2-y1)**2+(z2-z1)**2)",
        {
            "G": _UNIT,
            "m1": _UNIT,
            "m2": _UNIT,
            "x1": _NEAR,
            "x2": _FAR,
            "y1": _NEAR,
            "y2": _FAR,
            "z1": _NEAR,
            "z2": _FAR,
        },
        _gravity,
    ),
    _formula(
        "I.10.7",
        "m0/sqrt(1-v**2/c**2)",
        {"m0": _POSITIVE, "v": _POSITIVE, "c": (1.0, 2.0)},
        lambda m0, v, c: m0 / torch.sqrt(1 - v**2 / c**2),
    ),
    _formula(
        "I.11.19",
        "x1*y1+x2*y2+x3*y3",
        {"x1": _UNIT, "y1": _UNIT, "x2": _UNIT, "y2": _UNIT, "x3": _UNIT, "y3": _UNIT},
        lambda x1, y1, x2, y2, x3, y3: x1 * y1 + x2 * y2 + x3 * y3,
    ),
    _formula("I.12.1", "mu*N", {"mu": _UNIT, "N": _UNIT}, lambda mu, n: mu * n),
    _formula(
        "I.12.2",
        "q1*q2/(4*pi*epsilon*r**2)",
        {"q1": _UNIT, "q2": _UNIT, "epsilon": _SCALE, "r": _SCALE},
        lambda q1, q2, eps, r: q1 * q2 / (4 * math.pi * eps * r**2),
    ),
    _formula(
        "I.12.4",
        "q1/(4*pi*epsilon*r**2)",
        {"q1": _UNIT, "epsilon": _SCALE, "r": _SCALE},
        lambda q1, eps, r: q1 / (4 * math.pi * eps * r**2),
    ),
    _formula("I.12.5", "q2*Ef", {"q2": _UNIT, "Ef": _UNIT}, lambda q2, ef: q2 * ef),
    _formula(
        "I.12.11",
        "q*(Ef+B*v*sin(theta))",
        {"q": _UNIT, "Ef": _UNIT, "B": _UNIT, "v": _UNIT, "theta": (0.0, 2 * math.pi)},
        lambda q, ef, b, v, t: q * (ef + b * v * torch.sin(t)),
    ),
    _formula(
        "I.13.4",
        "m*(v**2+u**2+w**2)/2",
        {"m": _UNIT, "v": _UNIT, "u": _UNIT, "w": _UNIT},
        lambda m, v, u, w: m * (v**2 + u**2 + w**2) / 2,
    ),
    _formula(
        "I.13.12",
        "G*m1*m2*(1/r2-1/r1)",
        {"G": _POSITIVE, "m1": _POSITIVE, "m2": _POSITIVE, "r1": _SCALE, "r2": _SCALE},
        lambda g, m1, m2, r1, r2: g * m1 * m2 * (1 / r2 - 1 / r1),
    ),
    _formula("I.14.3", "m*g*z", {"m": _POSITIVE, "g": _POSITIVE, "z": _UNIT}, lambda m, g, z: m * g * z),
    _formula("I.14.4", "k*x**2/2", {"k": _POSITIVE, "x": _UNIT}, lambda k, x: k * x**2 / 2),
    _formula(
        "I.15.3x",
        "(x-u*t)/sqrt(1-u**2/c**2)",
        {"x": _UNIT, "u": _UNIT, "t": _UNIT, "c": (1.0, 2.0)},
        lambda x, u, t, c: (x - u * t) / torch.sqrt(1 - u**2 / c**2),
    ),
    _formula(
        "I.15.10",
        "m0*v/sqrt(1-v**2/c**2)",
        {"m0": _UNIT, "v": (-0.9, 0.9), "c": (1.1, 2.0)},
        lambda m0, v, c: m0 * v / torch.sqrt(1 - v**2 / c**2),
    ),
]

FEYNMAN: dict[str, TargetFunction] = {f.name: f for f in _FORMULAS}
"""The 18 formulas by name."""

DEMOS: dict[str, TargetFunction] = {
    "exp_sin": _formula(
        "exp_sin",
        "exp(sin(pi*x)+y**2)",
        {"x": _UNIT, "y": _UNIT},
        lambda x, y: torch.exp(torch.sin(math.pi * x) + y**2),
    ),
    "product": _formula("product", "x*y", {"x": _UNIT, "y": _UNIT}, lambda x, y: x * y),
}
"""The two functions of the interpretability demo (§5.5)."""


def feynman(name: str) -> TargetFunction:
    """One of the 18 Feynman formulas.

    Raises:
        KeyError: if the name is not known; the message has the closest names.
    """
    if name in FEYNMAN:
        return FEYNMAN[name]
    close = difflib.get_close_matches(name, FEYNMAN, n=4, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(FEYNMAN)}"
    raise KeyError(f"no Feynman formula is named {name!r}; {hint}")


def high_dim_exp(n: int) -> TargetFunction:
    """f(x) = exp((1/n) Σ sin²(π x_i / 2)) on [−1, 1]^n (the paper: n = 1000; the KAN paper: n = 100).

    Example:
        >>> round(high_dim_exp(2)(torch.tensor([[1.0, 0.0]])).item(), 4)  # exp(1/2)
        1.6487
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")

    def evaluate(*columns: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * torch.stack(columns, -1)).square().mean(-1).exp()

    name = f"high_dim_exp({n})"
    return TargetFunction(
        name, "exp(mean(sin(pi*x_i/2)**2))", tuple(f"x{i}" for i in range(1, n + 1)), (_UNIT,) * n, evaluate
    )


def target_function(name: str) -> TargetFunction:
    """A function by the name used in presets: a Feynman name, "exp_sin", "product", or "high_dim_exp(100)"."""
    if name in DEMOS:
        return DEMOS[name]
    if name.startswith("high_dim_exp(") and name.endswith(")") and name[13:-1].isdigit():
        return high_dim_exp(int(name[13:-1]))
    return feynman(name)
