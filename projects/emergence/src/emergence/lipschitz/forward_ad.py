"""Products with the Jacobian and its transpose, per sample, through any module (§3.7). Skeleton."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

Map: TypeAlias = Callable[[Tensor], Tensor]
