"""A limit theory of foundation models as a toolkit: Lipschitz constants, depth limits, covering numbers, scaling laws.

The public names are re-exported lazily; see `__init__.pyi`. Importing this package imports neither torch nor Lightning.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
