"""Data sets of image restoration: where their files lie, whether they are complete, whether two of them overlap.

Nothing here is downloaded. Files are found below `tenfold.data.root()` in the layout of the original archives or in
the compact one (`sr/Set5/x2/{HR,LR}`), read as 8-bit tensors (channels, height, width), and checked on the way.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
