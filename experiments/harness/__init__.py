"""What runs an experiment, keeps its results and holds them to numbers."""

from .claims import Claim as Claim
from .claims import reported as reported
from .gather import gather as gather
from .over_devices import over_devices as over_devices
from .settings import Settings as Settings
from .settings import Within as Within
from .sweep import sweep as sweep
