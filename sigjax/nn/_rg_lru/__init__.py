"""The real-gated linear recurrent unit."""

from ._blocks import BlockLinear as BlockLinear
from ._unit import RGLRU as RGLRU
from ._unit import RGLRUGates as RGLRUGates
