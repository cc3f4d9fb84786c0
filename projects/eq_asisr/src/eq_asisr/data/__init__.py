"""Training samples at random scales, evaluation sets, images in folders, and scenes with a chosen orientation."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
