"""Decoders: from features on the LR grid to a colour at any point, ordinary (LIIF, LTE, OPE) and equivariant (§3.3)."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
