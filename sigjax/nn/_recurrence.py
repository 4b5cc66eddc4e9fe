"""A gated recurrence over a whole sequence, with its own reverse pass.

Left to itself, automatic differentiation adds each step's share to the gradient of the weights
inside the loop: as many small matrix products as there are steps, each reading and writing all of
it. Here the loop only carries the gradient of the state backwards; the gradient of the weights is
one product over all steps after it.

The input is projected inside the loop, not before it: for the sizes of a CPU's cache that was
faster than writing the projections of all steps to memory and reading them again.
"""

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax

Carry = Any  # the state: one array, or a tuple of them
Gates = Any  # a named tuple of arrays


@runtime_checkable
class Update(Protocol):
    """The elementwise part of a gated cell, hashable."""

    def combine(self, projected: Array, recurrent: Array) -> tuple[Array, ...]:
        """Adds what comes from the input and from the state: the pre-activations."""
        ...

    def spread(self, cotangents: tuple[Array, ...]) -> tuple[Array, Array]:
        """The transpose of `combine`; one array twice where both are the same."""
        ...

    def __call__(self, preactivations: tuple[Array, ...], carry: Carry) -> tuple[Carry, Gates]:
        """One step of the state, and the gates that made it."""
        ...

    def hidden(self, carry: Carry) -> Array:
        """The part of the state that is multiplied by the recurrent kernel and put out."""
        ...

    def add_to_hidden(self, carry: Carry, change: Array) -> Carry:
        """The state with something added to its hidden part."""
        ...


def dot(x: Array, kernel: Array, precision: Any, wide: Any) -> Array:
    """A product in the kernel's dtype, summed in the wide one."""
    product = functools.partial(jnp.dot, precision=precision, preferred_element_type=wide)
    x = x.astype(kernel.dtype)
    if kernel.dtype == wide:
        return product(x, kernel)
    # A CPU has no 16-bit products and widens both factors at every step. Widened before, they
    # give the same numbers, since products of 16-bit numbers are exact in float32, and sooner.
    return lax.platform_dependent(
        x, kernel, cpu=lambda *factors: product(*(f.astype(wide) for f in factors)), default=product
    )


def advance(update, precision, x, weights, carry):
    """One step: pre-activations, state and gates. The bias is of the dtype of the state."""
    input_kernel, bias, recurrent_kernel = weights
    projected = dot(x, input_kernel, precision, bias.dtype) + bias
    recurrent = dot(update.hidden(carry), recurrent_kernel, precision, bias.dtype)
    preactivations = update.combine(projected, recurrent)
    return preactivations, *update(preactivations, carry)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def recurrence(update, with_gates, precision, unroll, x, weights, carry):
    """Runs a cell over a sequence.

    Args:
      update: the cell's elementwise part.
      with_gates: whether to keep the gates of every step.
      precision, unroll: of the products and of the scan.
      x: inputs, `[time, batch, features]`.
      weights: input kernel, bias and recurrent kernel.
      carry: the first state.

    Returns:
      The last state, the hidden part of every state, and the gates, or None, of every step.
    """

    def step(carry, x):
        _, carry, gates = advance(update, precision, x, weights, carry)
        return carry, (update.hidden(carry), gates if with_gates else None)

    last, (hidden, gates) = lax.scan(step, carry, x, unroll=unroll)
    return last, hidden, gates


def _forward(update, with_gates, precision, unroll, x, weights, carry):
    def step(carry, x):
        preactivations, carry, gates = advance(update, precision, x, weights, carry)
        return carry, (preactivations, carry, gates if with_gates else None)

    last, (preactivations, carries, gates) = lax.scan(step, carry, x, unroll=unroll)
    result = last, update.hidden(carries), gates
    return result, (x, weights, carry, preactivations, carries)


def _backward(update, with_gates, precision, unroll, residuals, cotangents):
    x, weights, carry, preactivations, carries = residuals
    input_kernel, _, recurrent_kernel = weights
    before = jax.tree.map(lambda c, cs: jnp.concatenate([c[None], cs[:-1]]), carry, carries)
    of_last, of_hidden, of_gates = cotangents

    def step(of_carry, given):
        preactivations, carry, of_hidden, of_gates = given
        of_carry = update.add_to_hidden(of_carry, of_hidden)
        if with_gates:
            _, pull = jax.vjp(update, preactivations, carry)
            of_preactivations, of_carry = pull((of_carry, of_gates))
        else:
            _, pull = jax.vjp(lambda *given: update(*given)[0], preactivations, carry)
            of_preactivations, of_carry = pull(of_carry)
        projected, recurrent = update.spread(of_preactivations)
        change = _dot_of_cotangent(recurrent, recurrent_kernel.T, precision)
        of_carry = update.add_to_hidden(of_carry, change)
        return of_carry, (projected, None if recurrent is projected else recurrent)

    of_carry, (projected, recurrent) = lax.scan(
        step, of_last, (preactivations, before, of_hidden, of_gates), reverse=True, unroll=unroll
    )
    recurrent = projected if recurrent is None else recurrent
    of_x = _dot_of_cotangent(projected, input_kernel.T, precision).astype(x.dtype)
    of_weights = (
        _of_kernel(x, projected, input_kernel, precision),
        jnp.sum(projected, axis=(0, 1)),
        _of_kernel(update.hidden(before), recurrent, recurrent_kernel, precision),
    )
    return of_x, of_weights, of_carry


recurrence.defvjp(_forward, _backward)


def _factor(kernel: Array, wide: Any) -> Any:
    # A gradient may be far below float16's smallest number.
    return wide if kernel.dtype == jnp.float16 else kernel.dtype


def _dot_of_cotangent(cotangent: Array, kernel: Array, precision: Any) -> Array:
    return dot(
        cotangent, kernel.astype(_factor(kernel, cotangent.dtype)), precision, cotangent.dtype
    )


def _of_kernel(x: Array, cotangent: Array, kernel: Array, precision: Any) -> Array:
    """One product over all steps and examples."""
    dtype = _factor(kernel, cotangent.dtype)
    rows, columns = (array.reshape(-1, array.shape[-1]).astype(dtype) for array in (x, cotangent))
    return dot(rows.T, columns, precision, cotangent.dtype).astype(kernel.dtype)
