"""A branch of solutions: its points, its folds, and where it meets others."""

import dataclasses
import functools
from typing import NamedTuple

import jax
from jax import Array

from ._absent import nan_unless

REASONS = (
    "all points were used",
    "the parameter came to a bound",
    "the branch closed on itself",
    "the branch was lost: the residual has no root near, or is not smooth there",
    "the start is not a solution, and none was found near it",
    "the start is where branches cross: more than one direction leads on",
    "the start says nothing of the size of a component: give scale",
)
USED, BOUND, CLOSED, LOST, NO_START, CROSSING, NO_SCALE = range(len(REASONS))


class SpecialPoints(NamedTuple):
    """Points of one kind on a branch, each in the row of the point before it.

    Attributes:
      exists: `[points - 1]`; rows without one hold zeros.
      states: `[points - 1, variables]`.
      parameters: `[points - 1]`.
      directions: `[points - 1, variables + 1]`; at a branch point the other branch's tangent, the
        parameter last, at a fold the branch's own.
      vertical: `[points - 1]`; whether at a branch point one of the two branches leaves at right
        angles to the parameter: a pitchfork, where the other ones are transcritical.
    """

    exists: Array
    states: Array
    parameters: Array
    directions: Array
    vertical: Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "states",
        "parameters",
        "tangents",
        "lengths",
        "tolerances",
        "scales",
        "turning_points",
        "crossings",
        "excess",
        "count",
        "reason",
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Branch:
    """Solutions along a curve; a pytree. Rows from `count` on repeat the last point.

    Attributes:
      states: `[points, variables]`.
      parameters: `[points]`.
      tangents: `[points, variables + 1]`, derivatives by the arclength, the parameter last.
      lengths: `[points]`, arclength from the start, each step in units of the scale there: the root
        of the sum of the state's mean square and the parameter's square.
      tolerances: `[points, variables]`, that the residual of each point is within.
      scales: `[points, variables + 1]`, the size of each component, the parameter's last.
      turning_points: the folds, as `SpecialPoints`.
      crossings: the branch points, as `SpecialPoints`.
      excess: the largest residual of the last point that was tried, in its tolerance: above 1
        where the branch was lost for want of a root.
      count: how many points there are.
      reason: why it ended; see `stopped`.
    """

    states: Array
    parameters: Array
    tangents: Array
    lengths: Array
    tolerances: Array
    scales: Array
    turning_points: SpecialPoints
    crossings: SpecialPoints
    excess: Array
    count: Array
    reason: Array

    @property
    def stopped(self) -> str:
        """Where the branch ends and why, in words; for one branch, outside `jit`."""
        if self.reason.ndim:
            raise ValueError("stopped describes one branch: index the batch first")
        reason, count = int(self.reason), int(self.count)
        where = f" at parameter {float(self.parameters[count - 1]):.6g}" if count else ""
        missed = f"; the last residual is {float(self.excess):.2g} times its tolerance"
        missed = missed if reason in (LOST, NO_START) else ""
        return f"{REASONS[reason]}{where} ({count} points{missed})"

    def folds(self) -> tuple[Array, Array]:
        """Where the branch turns back in the parameter.

        Returns:
          Parameters `[points - 1]` and states `[points - 1, variables]` of the folds, each in the
          row of the point before it, NaN elsewhere.
        """
        found = self.turning_points
        return nan_unless(found.exists, found.parameters), nan_unless(found.exists, found.states)

    def branch_points(self) -> tuple[Array, Array, Array]:
        """Where another branch crosses this one.

        Returns:
          Parameters `[points - 1]` and states `[points - 1, variables]`, each in the row of the
          point before it, NaN elsewhere; and whether it is a pitchfork, `[points - 1]`.
        """
        found = self.crossings
        return (
            nan_unless(found.exists, found.parameters),
            nan_unless(found.exists, found.states),
            found.exists & found.vertical,
        )
