"""What every basis of edge functions has in common: values (..., n) -> (..., n, n_basis)."""

from jaxtyping import Float
from torch import Tensor, nn


class Basis(nn.Module):
    """A family of `n_basis` univariate functions.

    Calling it on x of shape (..., n) gives the values of all functions at all entries, shape (..., n, n_basis).
    Layers keep their own copy of the basis they are given, so one object may be passed to many layers.
    """

    n_basis: int

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of the n_basis functions at every entry of x."""
        raise NotImplementedError

    def n_weights(self, base: bool) -> int:
        """Numbers one edge carries (q): the coefficients, and the base weight if there is a base function."""
        return self.n_basis + int(base)
