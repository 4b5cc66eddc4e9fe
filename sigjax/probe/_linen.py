"""The same for models of flax.linen."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen

from ..functional._messages import must
from ._call import Call, Parts, of_arrays
from ._mark import Layer, marked
from ._modules import is_layer
from ._names import names_of
from ._programs import program_of
from ._report import GradientReport


def diagnose_linen(
    model: linen.Module,
    loss_fn: Callable[..., Any],
    *batch: Any,
    has_aux: bool = False,
    per_step: bool = False,
    **kwargs: Any,
) -> GradientReport:
    """`diagnose` for a Linen module that is bound to its variables.

    Args:
      model: what `module.bind(variables)` gives; use `bind(..., rngs=..., mutable=...)` where the
        model draws random numbers or updates statistics.
      loss_fn: `loss_fn(model, *batch, **kwargs) -> scalar`, or `(scalar, aux)` with `has_aux`; it
        is given a bound module of the same kind.
      *batch: what else the loss takes; arrays are traced, the rest must be hashable.
      has_aux: whether the loss returns a pair.
      per_step: whether layers in a loop over time have a row for each step.
      **kwargs: more arguments of the loss.

    Returns:
      `GradientReport`. The module's variables stay what they are.

    Raises:
      TypeError: if `model` is no bound Linen module or the loss is not a floating scalar.
      ValueError: if the model has no parameters.

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
            must(
                "model",
                "be a bound Linen module, module.bind(variables)",
                type(model).__name__,
                of="sigjax.probe.diagnose_linen",
            )
        )
    call = _of_bound(model, loss_fn, has_aux, batch, kwargs)
    program = program_of(call, loss_fn, per_step, gradients=False)
    return GradientReport(program(call.parameters, call.others).measured, program.facts)


def _of_bound(
    model: linen.Module, loss_fn: Callable[..., Any], has_aux: bool, args: Any, kwargs: Any
) -> Call:
    assert model.scope is not None
    module, variables = model.unbind()
    mutable = model.scope.mutable
    keys = {name: rng.as_jax_rng() for name, rng in model.scope.rngs.items()}
    parameters, structure = jax.tree.flatten(variables.get("params", {}))
    names = names_of(variables.get("params", {}))
    held = Parts(({k: v for k, v in variables.items() if k != "params"}, keys))

    def evaluate(parameters: Sequence[Any], kept: Any, arguments: Any) -> Any:
        (rest, rngs), (args, kwargs) = kept, arguments
        own = {"params": jax.tree.unflatten(structure, parameters), **rest}
        bound = module.bind(own, rngs=rngs, mutable=mutable)
        with linen.intercept_methods(_mark):
            return loss_fn(bound, *args, **kwargs)

    return of_arrays(
        parameters,
        names,
        held,
        Parts((args, kwargs)),
        has_aux,
        (module, structure, str(mutable)),
        evaluate,
        lambda gradients: jax.tree.unflatten(structure, gradients),
        lambda reach: reach.add(type(module)),
        is_layer,
    )


def _mark(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    inner = context.module
    if context.method_name != "__call__" or not inner.path:
        return call(*args, **kwargs)
    own: Sequence[Any] = inner.variables.get("params", {}).items()
    shapes = tuple((name, value.shape) for name, value in own if hasattr(value, "shape"))
    layer = Layer(".".join(inner.path), type(inner).__name__, shapes)
    if not is_layer(layer):
        return call(*args, **kwargs)
    args, kwargs = marked((args, kwargs), layer, "input", is_leaf=_is_module)
    return marked(call(*args, **kwargs), layer, "output")


def _is_module(value: Any) -> bool:
    return isinstance(value, linen.Module)
