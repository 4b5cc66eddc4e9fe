"""Where a network's gradient dies: norms of every layer, measured."""

from ._diagnose import diagnose as diagnose
from ._diagnose import value_and_grad as value_and_grad
from ._findings import KINDS as KINDS
from ._findings import Finding as Finding
from ._history import History as History
from ._linen import diagnose_linen as diagnose_linen
from ._norms import Scaled as Scaled
from ._norms import normalized as normalized
from ._norms import safe_norm as safe_norm
from ._report import GradientReport as GradientReport
from ._rows import Row as Row
from ._tap import PROBE_SIZE as PROBE_SIZE
from ._tap import Statistics as Statistics
from ._tap import read as read
from ._tap import tap as tap
from ._watch import WatchState as WatchState
from ._watch import watch as watch
