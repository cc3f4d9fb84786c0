"""GMapLatent: Geometric Mapping in Latent Space: say in one sentence what the package offers.

The public names are re-exported lazily; see `__init__.pyi`. Importing this package imports neither torch nor Lightning.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
