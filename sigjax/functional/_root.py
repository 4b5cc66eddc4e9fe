"""Where a function is 0 at a number that no floating format holds."""

from typing import NamedTuple

import numpy as np
from jax import Array


class Root(NamedTuple):
    """A constant as the sum of two float64 numbers, the first its nearest one."""

    high: float
    low: float

    def difference(self, x: Array) -> tuple[Array, float]:
        """Returns $d$ and $e$ with $x - root = d - e$; near the root $d$ is exact.

        They are left apart for the caller to add `e` where it counts: XLA would turn
        $(x - c_1) - c_2$ into $x - (c_1 + c_2)$, which rounds the root.
        """
        nearest = float(np.dtype(x.dtype).type(self.high))
        return x - nearest, (self.high - nearest) + self.low


# mpmath, 50 digits
LOG_2 = Root(0.6931471805599453, 2.319046813846299e-17)
ONE_LESS_1_OVER_E = Root(0.6321205588285577, 1.2428753672788363e-17)
