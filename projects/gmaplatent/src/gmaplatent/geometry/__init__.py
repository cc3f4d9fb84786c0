"""Exact planar geometry: power diagrams, semi-discrete optimal transport, labelled meshes, harmonic maps."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
