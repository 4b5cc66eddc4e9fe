"""The sigmoid: where it is right, where gradients die in it, and how its gates behave."""

import importlib
from typing import Any as _Any

from . import initializers as initializers
from . import losses as losses
from ._cite import cite as cite
from ._stabilize import StabilizeWarning as StabilizeWarning
from ._stabilize import stabilize as stabilize
from .functional import bounded_logit as bounded_logit
from .functional import bounded_sigmoid as bounded_sigmoid
from .functional import bounded_sigmoid_log_det as bounded_sigmoid_log_det
from .functional import cloglog as cloglog
from .functional import cloglog_inverse as cloglog_inverse
from .functional import hard_sigmoid as hard_sigmoid
from .functional import log1m_sigmoid as log1m_sigmoid
from .functional import log1mexp as log1mexp
from .functional import log_cosh as log_cosh
from .functional import log_sigmoid as log_sigmoid
from .functional import log_sigmoid_diff as log_sigmoid_diff
from .functional import logaddexp as logaddexp
from .functional import logit as logit
from .functional import logit1mexp as logit1mexp
from .functional import logitexp as logitexp
from .functional import logsubexp as logsubexp
from .functional import sigmoid as sigmoid
from .functional import sigmoid_derivative as sigmoid_derivative
from .functional import sigmoid_linear as sigmoid_linear
from .functional import sigmoid_linear_error as sigmoid_linear_error
from .functional import silu as silu
from .functional import soft_switch as soft_switch
from .functional import softplus as softplus
from .functional import softplus_inverse as softplus_inverse
from .functional import swish as swish
from .functional import tanh_from_sigmoid as tanh_from_sigmoid

__version__ = "0.1.0"

# Loaded when first used, because importing Flax is slow.
_ON_DEMAND = ("calibration", "dynamics", "nn", "probe", "theory")


def __getattr__(name: str) -> _Any:
    if name in _ON_DEMAND:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
