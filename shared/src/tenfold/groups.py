"""Rotations and reflections of the plane, and how they act on images and on feature maps.

The rotation r by 360°/N is counter-clockwise on the screen, m is the horizontal flip, and every element is t = r^k m^b,
numbered b·N + k. The action on functions is (L_g f)(x) = f(g⁻¹x); a regular feature field has one channel per element,
channels are laid out field-major (channel = field · |G| + element), and

    (L_g F)[c, t](x) = F[c, g⁻¹t](g⁻¹x)                                                  (sa_conv §3.0, eq_vit §3.1)

so that under r the orientations roll by +1. This is e2cnn's layout of `FieldType(gspace, C * [regular_repr])`.
With X to the right and Y *down*, the source point of (X, Y) under t is t⁻¹(X, Y) = diag((−1)^b, 1) R(360°k/N) (X, Y).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from tenfold.imaging import Interpolation, resample


@dataclass(frozen=True)
class Group:
    """A finite group of rotations, with or without reflections; use `CyclicGroup` or `DihedralGroup`.

    Elements are the integers 0 … order − 1. Groups are compared by value and can be dictionary keys.
    """

    n_rotations: int
    has_reflections: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.n_rotations, bool) or not isinstance(self.n_rotations, int):
            raise TypeError(f"the number of rotations must be an int, got {self.n_rotations!r}")
        if self.n_rotations < 1:
            raise ValueError(f"the number of rotations must be at least 1, got {self.n_rotations}")

    @property
    def order(self) -> int:
        """Number of elements |G|."""
        return self.n_rotations * (1 + self.has_reflections)

    @property
    def name(self) -> str:
        """Name in the literature: "C8", "D4"."""
        return f"{'D' if self.has_reflections else 'C'}{self.n_rotations}"

    def __str__(self) -> str:
        return self.name

    @property
    def elements(self) -> range:
        """All elements, the identity first."""
        return range(self.order)

    def rotation_index(self, element: int) -> int:
        """k of t = r^k m^b."""
        return self._checked(element) % self.n_rotations

    def is_reflection(self, element: int) -> bool:
        """b of t = r^k m^b."""
        return self._checked(element) >= self.n_rotations

    def element_name(self, element: int) -> str:
        """Readable name: "r3", "r1 m", "e".

        >>> [DihedralGroup(2).element_name(t) for t in range(4)]
        ['e', 'r1', 'm', 'r1 m']
        """
        rotation, flip = self.rotation_index(element), self.is_reflection(element)
        parts = [f"r{rotation}"] * (rotation > 0) + ["m"] * flip
        return " ".join(parts) or "e"

    def compose(self, first: int, second: int) -> int:
        """The product first · second, acting with `second` first: (k₁,b₁)(k₂,b₂) = (k₁ + (−1)^b₁ k₂, b₁ ⊕ b₂).

        >>> DihedralGroup(4).compose(4, 1) == DihedralGroup(4).compose(3, 4)  # m r = r⁻¹ m
        True
        """
        k1, b1 = self.rotation_index(first), self.is_reflection(first)
        k2, b2 = self.rotation_index(second), self.is_reflection(second)
        return (b1 != b2) * self.n_rotations + (k1 + (-k2 if b1 else k2)) % self.n_rotations

    def inverse(self, element: int) -> int:
        """The element t⁻¹; reflections are their own inverses.

        >>> CyclicGroup(8).inverse(3)
        5
        """
        k = self.rotation_index(element)
        return element if self.is_reflection(element) else -k % self.n_rotations

    @cached_property
    def left_division(self) -> Int[Tensor, "t s"]:
        """Table [t, s] of t⁻¹s: the weight that links input orientation s to output orientation t."""
        return torch.tensor(
            [[self.compose(self.inverse(t), s) for s in self.elements] for t in self.elements]
        )

    def regular_permutation(self, element: int) -> Int[Tensor, " order"]:
        """Indices p with (L_g f)[t] = f[p[t]], that is p[t] = g⁻¹t.

        >>> CyclicGroup(4).regular_permutation(1)
        tensor([3, 0, 1, 2])
        """
        return self.left_division[self._checked(element)]

    def regular_representation(self, element: int) -> Float[Tensor, "order order"]:
        """Permutation matrix ρ(g) with (ρ(g) f)[t] = f[g⁻¹t], in float64."""
        return torch.eye(self.order, dtype=torch.float64)[self.regular_permutation(element)]

    def cos_sin(self, element: int) -> tuple[float, float]:
        """Cosine and sine of the rotation angle 2πk/N, exactly symmetric under quarter turns.

        Elements that differ by a quarter turn get bitwise the same numbers with exchanged roles, so that filters
        sampled at rotated coordinates are exactly rotated copies of each other, in every precision.
        """
        quarters, rest = divmod(4 * self.rotation_index(element), self.n_rotations)
        angle = 2 * math.pi * rest / (4 * self.n_rotations)
        cos, sin = math.cos(angle), math.sin(angle)
        return ((cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos))[quarters]

    def inverse_matrix(self, element: int) -> Float[Tensor, "2 2"]:
        """t⁻¹ as a matrix on (X, Y), X to the right and Y down, in float64: diag((−1)^b, 1) · R(2πk/N)."""
        cos, sin = self.cos_sin(element)
        sign = -1.0 if self.is_reflection(element) else 1.0
        return torch.tensor([[sign * cos, -sign * sin], [sin, cos]], dtype=torch.float64)

    def maps_lattice(self, element: int) -> bool:
        """Whether the element maps the pixel grid to itself, so that it acts by `rot90` and `flip` alone."""
        return 4 * self.rotation_index(element) % self.n_rotations == 0

    @property
    def lattice_elements(self) -> tuple[int, ...]:
        """The elements that act exactly on pixels."""
        return tuple(t for t in self.elements if self.maps_lattice(t))

    @property
    def is_lattice_group(self) -> bool:
        """Whether every element acts exactly on pixels: C1, C2, C4, D1, D2, D4."""
        return 4 % self.n_rotations == 0

    def act(
        self, element: int, image: Shaped[Tensor, "*batch h w"], interpolation: Interpolation | None = None
    ) -> Shaped[Tensor, "*batch new_h new_w"]:
        """Transform an image about its centre, (L_g f)(x) = f(g⁻¹x).

        Quarter turns and flips are exact for every dtype (an h×w image becomes w×h under odd quarter turns). Other
        elements need to read between the pixels, and the caller must say how; what lies outside the image is zero.

        Args:
            element: the group element g.
            image: any tensor with the image on the last two axes.
            interpolation: "bicubic" (Keys, a = −1/2) or "fourier" (the trigonometric interpolant; exact for periodic
                band-limited images); None allows elements that act exactly, and only those.

        Raises:
            ValueError: if the element needs an interpolation and none was named, or the element does not exist.
            TypeError: if integers would have to be interpolated.

        Example:
            >>> image = torch.arange(4.0).view(2, 2)
            >>> CyclicGroup(8).act(2, image)  # two eighths of a turn, counter-clockwise
            tensor([[1., 3.],
                    [0., 2.]])
        """
        if self.maps_lattice(element):
            flipped = image.flip(-1) if self.is_reflection(element) else image
            return torch.rot90(flipped, 4 * self.rotation_index(element) // self.n_rotations, (-2, -1))
        if interpolation is None:
            angle = 360 * self.rotation_index(element) / self.n_rotations
            raise ValueError(
                f"element {self.element_name(element)} of {self} turns by {angle:g}°, which does not map pixels to "
                "pixels; name an interpolation ('bicubic' or 'fourier')"
            )
        return resample(image, self.inverse_matrix(element).to(image.device), interpolation)

    def act_regular(
        self, element: int, features: Shaped[Tensor, "*batch"], dim: int = -1
    ) -> Shaped[Tensor, "*batch"]:
        """Permute the channels of regular fields without moving pixels: (L_g F)[c, t] = F[c, g⁻¹t].

        For tokens, vectors, and maps in canonical frames.

        Args:
            element: the group element g.
            features: has C·|G| channels on axis `dim`, field-major.
            dim: the channel axis.
        """
        fields = self.split(features, dim)
        axis = dim + 1 if dim >= 0 else dim
        permuted = fields.index_select(axis, self.regular_permutation(element).to(features.device))
        return permuted.flatten(*((dim, dim + 1) if dim >= 0 else (dim - 1, dim)))

    def act_field(
        self,
        element: int,
        features: Shaped[Tensor, "*batch channels h w"],
        interpolation: Interpolation | None = None,
    ) -> Shaped[Tensor, "*batch channels new_h new_w"]:
        """Transform maps of regular fields: move the pixels and permute the orientations (top of this module).

        Args as for `act`; channels are on the third axis from the end.

        Example:
            >>> group, features = CyclicGroup(4), torch.randn(1, 8, 5, 5)
            >>> turned = group.act_field(1, features)
            >>> torch.equal(turned[:, 1], torch.rot90(features[:, 0], 1, (-2, -1)))  # orientations roll by +1
            True
        """
        return self.act(element, self.act_regular(element, features, -3), interpolation)

    def split(self, features: Shaped[Tensor, "*batch"], dim: int) -> Shaped[Tensor, "*batch"]:
        """Split the channel axis into (fields, |G|).

        Raises:
            ValueError: if the number of channels is not a multiple of the group's order.
        """
        channels = features.shape[dim]
        if channels % self.order:
            raise ValueError(
                f"axis {dim} has {channels} channels, not a multiple of the {self.order} elements of {self}"
            )
        return features.unflatten(dim, (channels // self.order, self.order))

    def _checked(self, element: int) -> int:
        if not 0 <= element < self.order:
            raise ValueError(f"element must lie between 0 and {self.order - 1} for {self}, got {element}")
        return element


class CyclicGroup(Group):
    """C_N, the rotations by multiples of 360°/N; element k is the rotation by 360°·k/N counter-clockwise.

    Example:
        >>> group = CyclicGroup(8)
        >>> group.compose(3, 6), group.inverse(3), group.maps_lattice(2)
        (1, 5, True)
    """

    def __init__(self, n: int):
        super().__init__(n, has_reflections=False)

    def __repr__(self) -> str:
        return f"CyclicGroup({self.n_rotations})"


class DihedralGroup(Group):
    """D_N, the rotations by multiples of 360°/N and the reflections; element b·N + k is r^k m^b, first flip then turn.

    Example:
        >>> group = DihedralGroup(4)
        >>> image = torch.randn(3, 3)
        >>> torch.equal(group.act(5, image), torch.rot90(image.flip(-1), 1))
        True
    """

    def __init__(self, n: int):
        super().__init__(n, has_reflections=True)

    def __repr__(self) -> str:
        return f"DihedralGroup({self.n_rotations})"


def group_from_name(name: str) -> Group:
    """The group called "C8" or "D4".

    Raises:
        ValueError: for anything else.

    >>> group_from_name("D4")
    DihedralGroup(4)
    """
    kind: dict[str, type[CyclicGroup] | type[DihedralGroup]] = {"C": CyclicGroup, "D": DihedralGroup}
    if name[:1] not in kind or not name[1:].isdigit():
        raise ValueError(f"group name must be like 'C8' or 'D4', got {name!r}")
    return kind[name[0]](int(name[1:]))
