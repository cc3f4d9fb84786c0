"""The paper's theory, computable: bounds, dataset symmetry error, group averaging, closed-form checks (section 3.6)."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
