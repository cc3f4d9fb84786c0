from .interface import Baseline as Baseline
from .interface import Problem as Problem
from .named import BASELINES as BASELINES
from .pairing import BarycentreNearest as BarycentreNearest
from .pairing import RandomPairing as RandomPairing
from .transport import KeypointGuidedOT as KeypointGuidedOT
from .transport import PlainOT as PlainOT
from .transport import SinkhornL1L2 as SinkhornL1L2
