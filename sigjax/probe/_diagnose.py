"""Measures a model where it stands: every layer's gradient, in one run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._instrument import plan_probes, run_with_probes
from ._markers import is_layer, mark_calls, watching_layers
from ._report import GradientReport, Measured, natural, parameter_names, parameter_sums


def diagnose(
    model: nnx.Module, loss_fn: Callable[..., Array], *batch: Any, per_step: bool = False
) -> GradientReport:
    r"""Where in a model the gradient of a loss dies.

    The loss is traced with a copy of the model in which every layer marks its output; in the
    traced function each mark becomes a tap that lets values and gradients through and measures
    them. One evaluation of loss and gradient then gives all rows; nothing of the size of an
    activation is stored for it. The model is left as it was: parameters, statistics and random
    state, also when something raises.

    Layers are the modules inside the model that own parameters, and recurrent cells. Layers that
    are scanned over (`nnx.scan` over a stack) have a row each; a layer that is called at many time
    steps, or twice, has one row with all its calls together, or with `per_step` one for each step.

    Args:
      model: any `nnx.Module`, unmodified.
      loss_fn: `loss_fn(model, *batch) -> scalar`.
      *batch: what else the loss takes; arrays are traced, the rest must be hashable.
      per_step: whether a layer in a loop over time has a row for each step.

    Returns:
      `GradientReport`: print it. Under `jit` it is a pytree of arrays that can be returned.

    Raises:
      TypeError: if `model` is no NNX module or the loss is not a scalar.

    Example:
      Ten logistic layers, in three lines:

      >>> from flax import nnx
      >>> from sigjax.probe import diagnose
      >>> net = nnx.Sequential(*[m for i in range(10) for m in (
      ...     nnx.Linear(32, 32, rngs=nnx.Rngs(i)), nnx.sigmoid)])
      >>> report = diagnose(net, lambda net, x: net(x).sum(), jax.numpy.ones((8, 32)))
      >>> print(report.verdict.splitlines()[0][:22])
      The gradient vanishes:
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"diagnose: model must be a flax.nnx.Module, got {type(model).__name__}; "
            "for Linen use diagnose_linen"
        )
    split: Any = nnx.split(model, nnx.Param, ...)
    graph, parameters, rest = split
    leaves, tree = jax.tree.flatten(batch)
    arrays = [leaf for leaf in leaves if hasattr(leaf, "dtype")]
    # A copy for the trace, which must not hold the arrays themselves.
    described = [(None, True) if hasattr(leaf, "dtype") else (leaf, False) for leaf in leaves]

    def loss_of(parameters: Any, rest: Any, arrays: list[Array]) -> Array:
        copy = nnx.merge(graph, parameters, rest, copy=True)
        mark_calls(copy)
        remaining = iter(arrays)
        given = [next(remaining) if is_array else leaf for leaf, is_array in described]
        return loss_fn(copy, *jax.tree.unflatten(tree, given))

    return measure(loss_of, parameters, (rest, arrays), per_step)


def measure(
    loss_of: Callable[..., Array], parameters: Any, others: tuple[Any, ...], per_step: bool
) -> GradientReport:
    """Traces a loss whose layers mark their outputs, and reports on its gradient."""
    with watching_layers() as layers:
        closed, result = jax.make_jaxpr(loss_of, return_shape=True)(parameters, *others)
    shape = getattr(result, "shape", None)
    owners = {name.rpartition(".")[0] for name in parameter_names(parameters)}
    if shape != () or not jnp.issubdtype(result.dtype, jnp.floating):
        raise TypeError(f"loss_fn must return a floating scalar, got {result}")
    plan = plan_probes(closed.jaxpr, lambda path: is_layer(layers[path]))

    @jax.jit
    def run(parameters: Any, others: Any, probes: Any) -> tuple[Array, Any, Any]:
        def loss(parameters: Any, probes: Any) -> Array:
            arguments = jax.tree.leaves((parameters, *others))
            return run_with_probes(closed.jaxpr, closed.consts, arguments, plan, probes)[0]

        value, (gradients, measured) = jax.value_and_grad(loss, (0, 1))(parameters, probes)
        return value, parameter_sums(layers, parameters, gradients), measured

    found = Measured(*run(parameters, others, plan.probes()))
    reached = {slot.path for slot, *_ in plan.slots(plan.probes())}
    unreached = tuple(sorted(owners - reached, key=natural))
    shown = tuple(layer for path, layer in layers.items() if path in reached)
    return GradientReport(found, shown, plan, unreached, per_step)
