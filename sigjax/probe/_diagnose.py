"""Measures a model where it stands: every layer's gradient, in one evaluation."""

from collections.abc import Callable
from typing import Any

from ._call import call_of
from ._programs import program_of
from ._report import GradientReport


def diagnose(
    model: Any,
    loss_fn: Callable[..., Any],
    *batch: Any,
    has_aux: bool = False,
    per_step: bool = False,
    **kwargs: Any,
) -> GradientReport:
    r"""Where in a model the gradient of a loss dies, and why.

    The loss is traced with a copy of the model in which every layer marks its output; in the
    traced program each mark becomes a tap that lets values and gradients through and measures
    them. One evaluation of loss and gradient gives all numbers; nothing of the size of an
    activation is stored for it. The model is left as it was: parameters, statistics and random
    state, also when something raises. The program is kept: a second call with arguments of the
    same shapes costs little more than the gradient.

    Layers are the modules inside the model that own parameters, and recurrent cells. Layers that
    are scanned over (`nnx.scan` over a stack) have a row each, and so has each call of a layer.
    Inside a loop over time only the recurrent state and the parameters are measured; `per_step`
    adds a row for each layer at each step. For a pytree a layer is an operation (product,
    convolution, look-up) that uses a parameter, named by where the parameter is in the tree.

    Args:
      model: an `nnx.Module`, unmodified, or any pytree whose floating arrays are parameters: a
        dict, an Equinox module.
      loss_fn: `loss_fn(model, *batch, **kwargs) -> scalar`, or `(scalar, aux)` with `has_aux`.
      *batch: what else the loss takes; arrays are traced, the rest must be hashable.
      has_aux: whether the loss returns a pair.
      per_step: whether layers in a loop over time have a row for each step.
      **kwargs: more arguments of the loss.

    Returns:
      `GradientReport`: print it. Under `jit` it is a pytree of arrays that can be returned.

    Raises:
      TypeError: if the loss is no floating scalar, or the model abstract or an unbound Linen one.
      ValueError: if the model has no parameters, or an array was donated or deleted.

    Example:
      Ten logistic layers, in three lines:

      >>> import jax
      >>> from flax import nnx
      >>> from sigjax.probe import diagnose
      >>> net = nnx.Sequential(*[m for i in range(10) for m in (
      ...     nnx.Linear(32, 32, rngs=nnx.Rngs(i)), nnx.sigmoid)])
      >>> report = diagnose(net, lambda net, x: net(x).sum(), jax.numpy.ones((8, 32)))
      >>> print(report.findings[0].text[:22])
      The gradient vanishes:

      A pytree of parameters:

      >>> layers = [jax.random.normal(jax.random.key(i), (32, 32)) / 32**0.5 for i in range(3)]
      >>> def loss(layers, x):
      ...     for w in layers:
      ...         x = jax.numpy.tanh(x @ w)
      ...     return x.sum()
      >>> [row.name for row in diagnose(layers, loss, jax.numpy.ones((8, 32))).rows]
      ['0', '1', '2']
    """
    call = call_of(model, loss_fn, has_aux, batch, kwargs)
    program = program_of(call, loss_fn, per_step, gradients=False)
    return GradientReport(program(call.parameters, call.others).measured, program.facts)


def value_and_grad(
    loss_fn: Callable[..., Any], *, has_aux: bool = False, per_step: bool = False
) -> Callable[..., tuple[Any, Any, GradientReport]]:
    r"""Loss, gradients and a report of them, from one evaluation: for every step of a training.

    It takes the place of `nnx.value_and_grad` in the training step, which may be compiled by
    `nnx.jit`, stand in a `scan` over steps, or be sharded.

    Args:
      loss_fn: `loss_fn(model, *batch, **kwargs) -> scalar`, or `(scalar, aux)` with `has_aux`.
      has_aux: whether the loss returns a pair.
      per_step: whether layers in a loop over time have a row for each step.

    Returns:
      A function of `(model, *batch, **kwargs)` that gives `(value, gradients, report)`: `value` is
      the loss, or `(loss, aux)`; the gradients have the model's structure (of an NNX module the
      state of its `nnx.Param`s); the model's other state, such as batch statistics, is updated as
      the loss left it. It raises what `diagnose` raises.

      Its `unmeasured(model, *batch, **kwargs)` gives the report's structure with nothing measured,
      without evaluating anything: for the branch of a `jax.lax.cond` that makes no report.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from flax import nnx
      >>> from sigjax import probe
      >>> model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
      >>> optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
      >>> def loss_fn(model, x):
      ...     return jnp.mean(model(x) ** 2)
      >>> @nnx.jit
      ... def step(model, optimizer, x):
      ...     loss, gradients, report = probe.value_and_grad(loss_fn)(model, x)
      ...     optimizer.update(model, gradients)
      ...     return loss, report
      >>> loss, report = step(model, optimizer, jnp.ones((4, 2)))
      >>> report.findings
      []
    """

    def evaluate(model: Any, *batch: Any, **kwargs: Any) -> tuple[Any, Any, GradientReport]:
        call = call_of(model, loss_fn, has_aux, batch, kwargs)
        program = program_of(call, loss_fn, per_step, gradients=True)
        rest, gradients, measured = program(call.parameters, call.others)
        aux = call.finish(rest)
        report = GradientReport(measured, program.facts)
        value = (measured.loss, aux) if has_aux else measured.loss
        return value, call.gradients(gradients), report

    def unmeasured(model: Any, *batch: Any, **kwargs: Any) -> GradientReport:
        call = call_of(model, loss_fn, has_aux, batch, kwargs)
        program = program_of(call, loss_fn, per_step, gradients=True)
        return GradientReport(program.unmeasured(), program.facts)

    evaluate.unmeasured = unmeasured  # type: ignore[attr-defined]
    return evaluate
