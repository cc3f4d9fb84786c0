"""What every baseline takes and gives: labelled codes of both domains, and codes of the source to translate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

from ..alignment.correspondence import validated_codes, validated_labels
from ..neighbours import vote


@dataclass(frozen=True, eq=False)
class Problem:
    """The checked arguments of `Baseline.translate`."""

    source: Float[np.ndarray, "n d"]
    labels_src: Shaped[np.ndarray, "n"]
    target: Float[np.ndarray, "m e"]
    labels_tgt: Shaped[np.ndarray, "m"]
    query: Float[np.ndarray, "q d"]
    query_labels: Shaped[np.ndarray, "q"] | None

    def voted(self, k: int = 15) -> Shaped[np.ndarray, "q"]:
        """Clusters of the query: those given, else by the vote of the k nearest training codes."""
        if self.query_labels is not None:
            return self.query_labels
        return vote(self.source, self.labels_src, self.query, k)

    def require_one_dimension(self, method: str) -> None:
        """Refuse codes that cannot be compared.

        Raises:
            ValueError: if the domains have codes of different dimensions.
        """
        if self.source.shape[1] != self.target.shape[1]:
            raise ValueError(
                f"{method} compares codes of both domains, which must have one dimension; codes_src have "
                f"{self.source.shape[1]}, codes_tgt have {self.target.shape[1]}"
            )


class Baseline(ABC):
    """Translates codes of the source into codes of the target; a method implements `solve`."""

    def translate(
        self,
        codes_src: ArrayLike,
        labels_src: ArrayLike,
        codes_tgt: ArrayLike,
        labels_tgt: ArrayLike,
        query: ArrayLike,
        query_labels: ArrayLike | None = None,
    ) -> Float[np.ndarray, "q e"]:
        """Codes in the target of source codes `query`.

        Args:
            codes_src: (n, d), the source's training codes.
            labels_src: (n,), their clusters.
            codes_tgt: (m, e), e = d for the methods that compare codes of both domains.
            labels_tgt: (m,), clusters with the same names.
            query: (q, d), the codes to translate.
            query_labels: (q,); None where they are not known. A method that needs them lets the 15 nearest training
                codes vote.

        Raises:
            ValueError: for shapes that do not fit, numbers that are not finite, or clusters that are in one domain only.
            ModuleNotFoundError: if POT is needed and not installed.
        """
        return self.solve(_checked(codes_src, labels_src, codes_tgt, labels_tgt, query, query_labels))

    @abstractmethod
    def solve(self, problem: Problem) -> Float[np.ndarray, "q e"]:
        """Codes in the target of `problem.query`."""


def subsample(n: int, most: int | None, generator: np.random.Generator) -> Int[np.ndarray, "m"]:
    """At most `most` of n rows, drawn without replacement, in order; all of them if `most` is None."""
    if most is not None and most < 1:
        raise ValueError(f"max_points must be at least 1 or None, got {most}")
    return np.arange(n) if most is None or n <= most else np.sort(generator.choice(n, most, replace=False))


def _checked(
    codes_src: ArrayLike,
    labels_src: ArrayLike,
    codes_tgt: ArrayLike,
    labels_tgt: ArrayLike,
    query: ArrayLike,
    query_labels: ArrayLike | None,
) -> Problem:
    source, target = validated_codes(codes_src, "codes_src"), validated_codes(codes_tgt, "codes_tgt")
    wanted = validated_codes(query, "query", source.shape[1])
    ours = validated_labels(labels_src, len(source), "labels_src")
    theirs = validated_labels(labels_tgt, len(target), "labels_tgt")
    alone = np.setxor1d(ours, theirs)
    if len(alone):
        raise ValueError(
            f"labels_src and labels_tgt must name the same clusters; in one only: {alone[:10].tolist()}"
        )
    known = None if query_labels is None else validated_labels(query_labels, len(wanted), "query_labels")
    if known is not None and len(np.setdiff1d(known, ours)):
        raise ValueError(
            f"query_labels has clusters that no training code has: {np.setdiff1d(known, ours)[:10].tolist()}"
        )
    return Problem(source, ours, target, theirs, wanted, known)
