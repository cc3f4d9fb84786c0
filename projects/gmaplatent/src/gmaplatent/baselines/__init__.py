"""What aligns codes otherwise: optimal transport in three forms, translation of means, random partners (§4).

All have one interface,

    translate(codes_src, labels_src, codes_tgt, labels_tgt, query, query_labels=None) -> codes

so that a comparison is a loop over `BASELINES`. The sixth baseline, CycleGAN, works on images and is in
`gmaplatent.models.cyclegan`.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
