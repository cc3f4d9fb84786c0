"""The gate: how much of each basis generator acts at a latent state (NOTES: §3.2, §3.7).

    l = g(z),   alpha = softmax(l[:m_skew]),   beta = softmax(l[m_skew:])

One softmax for each group: rotation and dissipation do not compete. Convex weights keep the generator in the convex hull of its
bases; kind="linear" takes l itself, unbounded.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_choice, check_count, check_last, check_positive
from .nets import MLP

KINDS = ("softmax", "linear")


class MixtureGate(nn.Module):
    """State-dependent weights of the skew and of the self-adjoint bases.

    Mixing starts nearly uniform (last weights N(0, 0.01²)). While training, normal noise is added to l; its standard
    deviation falls linearly from `noise` to 0 over `noise_steps` evaluations, which the buffer `evaluations` counts: one for each
    latent step.

    Args:
        d: size of the latent state.
        m_skew, m_self: numbers of weights in the two groups, at least 0, not both 0.
        hidden, layers: of the network.
        kind: "softmax" (convex weights) or "linear".
        noise: standard deviation of the noise at the start, at least 0.
        noise_steps: evaluations until it has gone.

    Example:
        >>> gate = MixtureGate(6, m_skew=5, m_self=3, hidden=32).eval()
        >>> alpha, beta = gate(torch.randn(4, 6))
        >>> alpha.shape, beta.shape, torch.allclose(alpha.sum(-1), torch.ones(4))
        (torch.Size([4, 5]), torch.Size([4, 3]), True)
    """

    evaluations: Tensor

    def __init__(
        self,
        d: int,
        m_skew: int,
        m_self: int,
        hidden: int = 64,
        layers: int = 2,
        kind: str = "softmax",
        noise: float = 1.0,
        noise_steps: int = 15_000,
    ):
        super().__init__()
        check_positive(d=d, noise_steps=noise_steps)
        check_count(m_skew=m_skew, m_self=m_self)
        check_choice("kind", kind, KINDS)
        if m_skew + m_self == 0:
            raise ValueError("m_skew and m_self are both 0: the gate needs at least one basis to weigh")
        if not noise >= 0:
            raise ValueError(f"noise must be at least 0, got {noise}")
        self.m_skew, self.m_self, self.kind = m_skew, m_self, kind
        self.noise, self.noise_steps = float(noise), noise_steps
        self.net = MLP(d, m_skew + m_self, hidden, layers)
        nn.init.normal_(self.net.last.weight, std=0.01)
        if kind == "linear":
            with torch.no_grad():
                self.net.last.bias[:m_skew] = 1 / max(m_skew, 1)
                self.net.last.bias[m_skew:] = 1 / max(m_self, 1)
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))

    @property
    def state_independent(self) -> bool:
        """Whether the weights cannot depend on the state: a softmax over one entry is always 1."""
        return self.kind == "softmax" and max(self.m_skew, self.m_self) <= 1

    def noise_level(self) -> Float[Tensor, ""]:
        """Standard deviation of the noise of the next evaluation in training."""
        return self.noise * (1 - self.evaluations / self.noise_steps).clamp(min=0)

    def logits(self, z: Float[Tensor, "... d"]) -> Float[Tensor, "... m"]:
        """l, with noise while training."""
        logits = self.net(z)
        if self.training and self.noise > 0:
            logits = logits + self.noise_level().to(logits.dtype) * torch.randn_like(logits)
            self.evaluations += 1
        return logits

    def forward(
        self, z: Float[Tensor, "... d"]
    ) -> tuple[Float[Tensor, "... m_skew"], Float[Tensor, "... m_self"]]:
        check_last("z", z, self.net.n_in, "d")
        alpha, beta = self.logits(z).split([self.m_skew, self.m_self], dim=-1)
        if self.kind == "softmax":
            alpha, beta = alpha.softmax(-1), beta.softmax(-1)
        return alpha, beta
