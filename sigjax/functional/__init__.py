"""The sigmoid family: the only place in the project where sigmoid arithmetic is written."""

from ._bounded import bounded_logit as bounded_logit
from ._bounded import bounded_sigmoid as bounded_sigmoid
from ._bounded import bounded_sigmoid_log_det as bounded_sigmoid_log_det
from ._cloglog import cloglog as cloglog
from ._cloglog import cloglog_inverse as cloglog_inverse
from ._linear import hard_sigmoid as hard_sigmoid
from ._linear import sigmoid_linear as sigmoid_linear
from ._linear import sigmoid_linear_error as sigmoid_linear_error
from ._log1mexp import log1mexp as log1mexp
from ._log_cosh import log_cosh as log_cosh
from ._log_sigmoid_diff import log_sigmoid_diff as log_sigmoid_diff
from ._logaddexp import logaddexp as logaddexp
from ._logaddexp import logsubexp as logsubexp
from ._logit import logit as logit
from ._sigmoid import sigmoid as sigmoid
from ._sigmoid import sigmoid_derivative as sigmoid_derivative
from ._silu import silu as silu
from ._silu import swish as swish
from ._soft_switch import soft_switch as soft_switch
from ._softplus import log1m_sigmoid as log1m_sigmoid
from ._softplus import log_sigmoid as log_sigmoid
from ._softplus import softplus as softplus
from ._softplus_inverse import logit1mexp as logit1mexp
from ._softplus_inverse import logitexp as logitexp
from ._softplus_inverse import softplus_inverse as softplus_inverse
from ._tanh import tanh_from_sigmoid as tanh_from_sigmoid
