"""What the paper claims, each as a measurable check; G1–G6 are the claims of the notes, section 8."""

from .exactness import exact_alignment

__all__ = ["exact_alignment"]
