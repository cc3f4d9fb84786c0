"""GMapLatent: two latent spaces aligned cluster by cluster, by exact planar optimal transport and harmonic maps.

The public names are re-exported lazily; see `__init__.pyi`. Importing this package imports neither torch nor Lightning.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
