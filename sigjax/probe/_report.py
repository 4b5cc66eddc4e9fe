"""What was measured: rows, findings, and the ways to look at them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..functional._messages import must
from . import _views
from ._facts import Facts
from ._findings import Finding, findings_of
from ._layout import Measured
from ._reading import Reading, reading_of
from ._rows import Row, rows_of
from ._scalars import scalars

HEALTHY = "The gradient reaches every layer with a norm of its own order."
# Hold on to what was computed from arrays; a report cannot change.
_KNOWN = "_known"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GradientReport:
    """A gradient, layer by layer, in the order in which the layers were called.

    Print it for the table and the verdict. It is a pytree: its arrays may come out of `jit`, be
    stacked by `scan` (`History.extend` reads the stack) and be saved in checkpoints. What it says
    is there once the arrays are concrete.

    Attributes:
      measured: the arrays.
      facts: what they belong to.
    """

    measured: Measured
    facts: Facts = dataclasses.field(metadata={"static": True})

    @property
    def loss(self) -> Array:
        """The loss, a scalar."""
        return self.measured.loss

    @property
    def rows(self) -> list[Row]:
        """One for each layer, or step; see `Row`."""
        return list(self._computed("rows", lambda: rows_of(self._reading)))

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, the gravest and most explanatory first; empty for a healthy model.

        Raises:
          ValueError: of a report that was not measured, see `unmeasured`.
        """
        return list(self._computed("findings", lambda: findings_of(self._reading, self.rows)))

    @property
    def verdict(self) -> str:
        """The findings in words, one line each."""
        found = [f"{finding.kind}: {finding}" for finding in self.findings]
        opaque = self.facts.plan.opaque
        if opaque:
            found.append(
                f"No one can look inside what calls {', '.join(opaque)}: of these layers only the "
                "parameters were measured."
            )
        return "\n".join(found if self.findings else [HEALTHY, *found])

    def worst(self, n: int = 1) -> list[Row]:
        """The layers with the smallest gradients at their outputs, smallest first."""
        known = [row for row in self.rows if row.log10_gradient == row.log10_gradient]
        return sorted(known, key=lambda row: row.log10_gradient)[:n]

    def scalars(self, prefix: str = "") -> dict[str, Array]:
        """Numbers for TensorBoard, wandb or a CSV, by name; works inside `jit`, too.

        Args:
          prefix: put before each name, such as "probe/".

        Returns:
          "loss", and for each layer "LAYER/log10_gradient" and "LAYER/log10_parameter_gradient":
          log10 of the norms, float32 scalars, for stacks and loops of everything together.
        """
        return scalars(self.measured, self.facts, prefix)

    def unmeasured(self) -> "GradientReport":
        """A report of the same structure for which nothing was measured: zeros, and marked so.

        It is what the other branch of a `jax.lax.cond` returns where a report is made every k
        steps; `History` leaves it out.
        """
        zeros = jax.tree.map(jnp.zeros_like, self.measured)
        return GradientReport(zeros, self.facts)

    @property
    def is_measured(self) -> Array:
        """bool scalar: False in what `unmeasured` gives."""
        return self.measured.evaluations > 0

    def merge(self, *others: "GradientReport") -> "GradientReport":
        """One report for several microbatches, each with the loss of its own part.

        Norms are root sums of squares over all of them, shares and dead units are of all examples
        together, the loss is the mean.

        Args:
          *others: reports of the same function for other microbatches.

        Raises:
          ValueError: if one belongs to another program.
        """
        for other in others:
            if other.facts is not self.facts:
                raise ValueError(
                    must(
                        "others", "be reports of the same loss and model", "one of another program"
                    )
                )
        parts = [self.measured, *(other.measured for other in others)]
        add = functools.partial(jax.tree.map, lambda *x: sum(x[1:], start=x[0]))
        return GradientReport(
            Measured(
                jnp.mean(jnp.stack([part.loss for part in parts])),
                add(*[part.sites for part in parts]),
                # The parameters are the same in all parts; their gradients are not.
                jax.tree.map(
                    lambda *x: sum(x[1:], start=x[0]).at[..., 1, :].set(x[0][..., 1, :]),
                    *[part.sums for part in parts],
                ),
                jnp.all(jnp.stack([part.batch_is_finite for part in parts])),
                add(*[part.evaluations for part in parts]),
            ),
            self.facts,
        )

    def __str__(self) -> str:
        return _views.table(float(self.loss), self.rows, self.verdict)

    def to_xarray(self) -> Any:
        """The rows as an `xarray.Dataset` over the dimension `layer`; needs xarray."""
        return _views.dataset(float(self.loss), self.rows, self.verdict)

    def plot(self) -> Any:
        """Norms over layers as a matplotlib `Figure`; needs matplotlib."""
        return _views.figure(self.rows)

    @property
    def _reading(self) -> Reading:
        if isinstance(self.measured.loss, jax.core.Tracer):
            raise TypeError(
                "a report is read once its arrays are concrete: return it from the traced "
                "function, or use `scalars` inside"
            )
        found: Reading = self._computed("reading", lambda: self._read())
        return found

    def _read(self) -> Reading:
        if not bool(self.measured.evaluations):
            raise ValueError("nothing was measured for this report (see `unmeasured`)")
        return reading_of(self.measured, self.facts)

    def _computed(self, name: str, compute: Any) -> Any:
        known = vars(self).setdefault(_KNOWN, {})
        if name not in known:
            known[name] = compute()
        return known[name]
