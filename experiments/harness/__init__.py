"""What runs an experiment, keeps its results and holds them to numbers."""

from .claims import Claim as Claim
from .devices import shard_seeds as shard_seeds
from .gather import gather as gather
from .sweep import sweep as sweep
