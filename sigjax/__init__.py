"""The sigmoid: where it is right, where gradients die in it, and how its gates behave."""

from .functional import log1m_sigmoid as log1m_sigmoid
from .functional import log_sigmoid as log_sigmoid
from .functional import logit as logit
from .functional import sigmoid as sigmoid
from .functional import sigmoid_derivative as sigmoid_derivative
from .functional import silu as silu
from .functional import softplus as softplus
from .functional import swish as swish
from .functional import tanh_from_sigmoid as tanh_from_sigmoid

__version__ = "0.1.0"
