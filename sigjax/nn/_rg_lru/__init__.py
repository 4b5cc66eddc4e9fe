"""The real-gated linear recurrent unit."""

from ._blocks import BlockLinear as BlockLinear
from ._unit import MAX_RADIUS as MAX_RADIUS
from ._unit import MIN_RADIUS as MIN_RADIUS
from ._unit import RGLRU as RGLRU
from ._unit import RGLRUGates as RGLRUGates
