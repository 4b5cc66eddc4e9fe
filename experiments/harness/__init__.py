"""What runs an experiment, keeps its results and holds them to numbers."""

from .claims import Claim as Claim
from .sweep import sweep as sweep
