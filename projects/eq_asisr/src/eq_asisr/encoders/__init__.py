"""Encoders: from an LR image to features on the LR grid, ordinary (EDSR, RDN, SwinIR) and rotation-equivariant (§4)."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
