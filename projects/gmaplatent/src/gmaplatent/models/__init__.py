"""Networks: autoencoders that make the codes, a classifier that judges translations, a CycleGAN to compare with (§4)."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
