"""The same for models of flax.linen."""

from collections.abc import Callable
from typing import Any

from flax import linen
from jax import Array

from ._diagnose import measure
from ._markers import Layer, marked
from ._report import GradientReport


def diagnose_linen(
    model: linen.Module, loss_fn: Callable[..., Array], *batch: Any, per_step: bool = False
) -> GradientReport:
    """`diagnose` for a Linen module that is bound to its variables.

    Args:
      model: what `module.bind(variables)` gives; use `bind(..., rngs=..., mutable=...)` where the
        model draws random numbers or updates statistics.
      loss_fn: `loss_fn(model, *batch) -> scalar`; it is given a bound module of the same kind.
      *batch: arrays that the loss takes.
      per_step: whether a layer in a loop over time has a row for each step.

    Returns:
      `GradientReport`. The module's variables stay what they are.

    Raises:
      TypeError: if `model` is no bound Linen module or the loss is not a scalar.

    Example:
      >>> from flax import linen
      >>> import jax, jax.numpy as jnp
      >>> x = jnp.ones((2, 8))
      >>> net = linen.Sequential([linen.Dense(8), linen.tanh, linen.Dense(1)])
      >>> net = net.bind(net.init(jax.random.key(0), x))
      >>> report = diagnose_linen(net, lambda net, x: net(x).sum(), x)
      >>> print([row.name for row in report.rows])
      ['layers_0', 'layers_2']
    """
    if not isinstance(model, linen.Module) or model.scope is None:
        raise TypeError(
            "diagnose_linen: model must be a bound Linen module, module.bind(variables), "
            f"got {type(model).__name__}"
        )
    module, variables = model.unbind()
    mutable, rngs = model.scope.mutable, model.scope.rngs
    keys = {name: rng.as_jax_rng() for name, rng in rngs.items()}
    others = {name: part for name, part in variables.items() if name != "params"}

    def mark(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        inner = context.module
        if context.method_name != "__call__" or not inner.path:
            return output
        own = inner.variables.get("params", {})
        shapes = {name: value.shape for name, value in own.items() if hasattr(value, "shape")}
        return marked(output, Layer(".".join(inner.path), type(inner).__name__, "", shapes))

    def loss_of(parameters: Any, others: Any, keys: Any, batch: Any) -> Array:
        bound = module.bind({"params": parameters, **others}, rngs=keys, mutable=mutable)
        with linen.intercept_methods(mark):
            return loss_fn(bound, *batch)

    return measure(loss_of, variables["params"], (others, keys, batch), per_step)
