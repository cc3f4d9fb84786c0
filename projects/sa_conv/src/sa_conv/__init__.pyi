from . import theory as theory
from .hyper import FeatureHyperNet as FeatureHyperNet
from .hyper import ImageHyperNet as ImageHyperNet
