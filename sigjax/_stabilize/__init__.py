"""Right derivatives for functions that nobody edits."""

from ._stabilize import StabilizeWarning as StabilizeWarning
from ._stabilize import stabilize as stabilize
