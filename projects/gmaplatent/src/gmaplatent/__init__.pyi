from .data import DigitsData as DigitsData
from .layers import ResidualLinear as ResidualLinear
from .models import MLP as MLP
from .models import Classifier as Classifier
from .module import LitClassifier as LitClassifier
