"""Where the pilots are: a K_p × S_p array of resource elements, one comb of subcarriers for each pilot symbol.

The combs may be staggered, so the array is a lattice of true coordinates (subcarriers[j][i], symbols[j]) and not a
rectangle of the grid; whoever interpolates needs these coordinates (NOTES: §10.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class PilotPattern:
    """The pilots of a slot.

    Args:
        symbols: the S_p symbols with pilots, increasing, from 0.
        subcarriers: for each of them its K_p subcarriers, increasing, from 0.

    Example:
        >>> pattern = PilotPattern.comb(12, 2, symbols=(0, 7), offsets=(0, 1))
        >>> pattern.shape, pattern.subcarriers[1]
        ((6, 2), (1, 3, 5, 7, 9, 11))
    """

    symbols: tuple[int, ...]
    subcarriers: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        # Lists, as a JSON file holds them, would not be hashable.
        object.__setattr__(self, "symbols", tuple(int(s) for s in self.symbols))
        object.__setattr__(self, "subcarriers", tuple(tuple(int(k) for k in row) for row in self.subcarriers))
        if not self.symbols:
            raise ValueError("symbols is empty: a pattern needs at least one pilot symbol")
        if len(self.subcarriers) != len(self.symbols):
            raise ValueError(
                f"subcarriers has {len(self.subcarriers)} combs for {len(self.symbols)} pilot symbols: give one comb a symbol"
            )
        _check_increasing("symbols", self.symbols)
        for symbol, row in zip(self.symbols, self.subcarriers):
            if len(row) < 2:
                raise ValueError(
                    f"symbol {symbol} has {len(row)} pilot subcarriers, at least 2 are needed to interpolate"
                )
            _check_increasing(f"subcarriers of symbol {symbol}", row)
        if len({len(row) for row in self.subcarriers}) > 1:
            raise ValueError(
                f"the combs have {[len(row) for row in self.subcarriers]} subcarriers; all must have the same number"
            )

    @classmethod
    def comb(
        cls, n_subcarriers: int, spacing: int, symbols: Sequence[int], offsets: Sequence[int] = (0,)
    ) -> "PilotPattern":
        """Every `spacing`-th subcarrier, from the offset of the symbol; offsets are repeated as often as needed.

        Combs of different offsets may differ by one subcarrier when `spacing` does not divide `n_subcarriers`; all are cut to
        the shortest.
        """
        if spacing < 1:
            raise ValueError(f"spacing must be at least 1 subcarrier, got {spacing}")
        if not offsets or min(offsets) < 0:
            raise ValueError(f"offsets must be subcarriers from 0, got {tuple(offsets)}")
        rows = [tuple(range(offsets[j % len(offsets)], n_subcarriers, spacing)) for j in range(len(symbols))]
        shortest = min((len(row) for row in rows), default=0)
        return cls(tuple(symbols), tuple(row[:shortest] for row in rows))

    @property
    def shape(self) -> tuple[int, int]:
        """(K_p, S_p): pilot subcarriers a symbol, pilot symbols."""
        return len(self.subcarriers[0]), len(self.symbols)

    @property
    def n_pilots(self) -> int:
        """K_p S_p."""
        return self.shape[0] * self.shape[1]

    @property
    def staggered(self) -> bool:
        """Whether the combs differ."""
        return len(set(self.subcarriers)) > 1

    def coordinates(self) -> tuple[Int[Tensor, "k_p s_p"], Int[Tensor, "k_p s_p"]]:
        """Subcarrier and symbol of every pilot, as arrays of the shape of the LS input."""
        rows = torch.tensor(self.subcarriers).T.contiguous()
        return rows, torch.tensor(self.symbols).expand_as(rows).contiguous()

    def take(self, grid: Shaped[Tensor, "*b k s"]) -> Shaped[Tensor, "*b k_p s_p"]:
        """The resource elements of a grid that hold pilots."""
        subcarriers, symbols = self.coordinates()
        return grid[..., subcarriers.to(grid.device), symbols.to(grid.device)]

    def check_inside(self, n_subcarriers: int, n_symbols: int) -> None:
        """Raise if a pilot lies outside a grid of this size."""
        if self.symbols[0] < 0 or self.symbols[-1] >= n_symbols:
            raise ValueError(
                f"pilot symbols {self.symbols} must lie in 0 … {n_symbols - 1}, the symbols of the slot"
            )
        for symbol, row in zip(self.symbols, self.subcarriers):
            if row[0] < 0 or row[-1] >= n_subcarriers:
                raise ValueError(
                    f"pilot subcarriers of symbol {symbol} reach from {row[0]} to {row[-1]}, "
                    f"they must lie in 0 … {n_subcarriers - 1}"
                )


def _check_increasing(name: str, values: tuple[int, ...]) -> None:
    if len(set(values)) < len(values):
        twice = sorted({v for v in values if values.count(v) > 1})
        raise ValueError(f"{name} holds {twice} more than once")
    if list(values) != sorted(values):
        raise ValueError(f"{name} must be increasing, got {values}")
