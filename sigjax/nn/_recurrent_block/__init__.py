"""Griffin's recurrent block."""

from ._block import RecurrentBlock as RecurrentBlock
from ._temporal_conv import TemporalConv as TemporalConv
