"""Right derivatives for functions without editing them."""

from ._obstacles import StabilizeWarning as StabilizeWarning
from ._stabilize import stabilize as stabilize
