"""Data sets: where they live, how they are verified, how they are fetched.

Loaders return numpy arrays; `root()` says where they look. Nothing is downloaded unless `fetch` is called.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
