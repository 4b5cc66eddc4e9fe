"""Right derivatives for functions that nobody edits."""

from ._obstacles import StabilizeWarning as StabilizeWarning
from ._stabilize import stabilize as stabilize
