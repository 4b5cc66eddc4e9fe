"""The sigmoid family: the only place in the project where sigmoid arithmetic is written."""

from ._logit import logit as logit
from ._sigmoid import sigmoid as sigmoid
from ._sigmoid import sigmoid_derivative as sigmoid_derivative
from ._silu import silu as silu
from ._silu import swish as swish
from ._softplus import log1m_sigmoid as log1m_sigmoid
from ._softplus import log_sigmoid as log_sigmoid
from ._softplus import softplus as softplus
from ._tanh import tanh_from_sigmoid as tanh_from_sigmoid
