"""Where a network's gradient dies: norms of every layer, measured."""

from ._norms import Scaled as Scaled
from ._norms import normalized as normalized
from ._norms import safe_norm as safe_norm
