"""A gated recurrence over a whole sequence, whose derivative is made for the reverse pass.

Left to itself, automatic differentiation adds each step's share to the gradient of the weights
inside the loop: as many small matrix products as there are steps, each reading and writing all of
it. Here the tangents of inputs and weights enter the pre-activations of all steps at once, in one
product before the loop, and the loop carries the tangent of the state alone. That is an ordinary
linear program: run, it is forward mode; transposed by JAX, it is a loop that carries the gradient
of the state backwards, and one product over all steps after it. So every mode and order of
differentiation, every batching and every mesh has the same rule.

In the primal the input is projected inside the loop, not before it: for the sizes of a CPU's cache
that is faster than writing the projections of all steps to memory and reading them again.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from ._products import Precision, dot, turned, turned_tangent, under, wide_dot

Carry = Any  # the state: one array, or a tuple of them
Gates = Any  # a named tuple of arrays
Preactivations = tuple[Array, ...]


@runtime_checkable
class Update(Protocol):
    """The elementwise part of a gated cell, hashable."""

    def combine(self, projected: Array, recurrent: Array) -> Preactivations:
        """Adds what comes from the input and from the state: the pre-activations."""
        ...

    def from_state(self, recurrent: Array) -> tuple[Array | None, ...]:
        """The same where nothing comes from the input; None where nothing comes from the state."""
        ...

    def __call__(self, preactivations: Preactivations, carry: Carry) -> tuple[Carry, Gates]:
        """One step of the state, and the gates that made it."""
        ...

    def slopes(self, preactivations: Preactivations, carry: Carry) -> Any:
        """Arrays that `tangent` multiplies by, of the shapes of their arguments."""
        ...

    def tangent(
        self, slopes: Any, dpreactivations: tuple[Array | None, ...], dcarry: Carry | None
    ) -> Carry:
        """The tangent of the next state; None stands for a tangent of zero."""
        ...

    def hidden(self, carry: Carry) -> Array:
        """The part of the state that is multiplied by the recurrent kernel and put out."""
        ...


class Weights(NamedTuple):
    """Of a gated cell, the gates side by side or along an axis of their own.

    Attributes:
      input_kernel: `[in_features, ...]`, in the dtype of the products.
      input_bias: `[...]`, in the dtype of the state, or None.
      recurrent_kernel, recurrent_bias: the same for the hidden part of the state.
    """

    input_kernel: Array
    input_bias: Array | None
    recurrent_kernel: Array
    recurrent_bias: Array | None


class Resets(NamedTuple):
    """Where a recurrence starts anew.

    Attributes:
      at: bool, `[time, ...]`: whether the state is replaced before the step.
      state: what it is replaced by.
    """

    at: Array
    state: Carry


class Options(NamedTuple):
    """What is static about a recurrence.

    Attributes:
      whole: whether the whole state of every step is returned, not only its hidden part.
      preactivations: whether those of every step are returned.
      precision, unroll: of the products and of the loops.
    """

    whole: bool
    preactivations: bool
    precision: Precision
    unroll: int


class Trajectory(NamedTuple):
    """What a recurrence returns.

    Attributes:
      last: the last state.
      states: the states after every step, `[time, ...]` each part, or their hidden part.
      preactivations: of every step, or None.
    """

    last: Carry
    states: Carry
    preactivations: Preactivations | None


def advance(
    update: Update, precision: Precision, weights: Weights, carry: Carry, x: Array
) -> tuple[Preactivations, Carry, Gates]:
    """One step: pre-activations, state and gates, all in the dtype of the state."""
    hidden = update.hidden(carry)
    wide = hidden.dtype
    projected = affine(x, weights.input_kernel, weights.input_bias, precision, wide)
    recurrent = affine(hidden, weights.recurrent_kernel, weights.recurrent_bias, precision, wide)
    preactivations = update.combine(projected, recurrent)
    return preactivations, *update(preactivations, carry)


def affine(x: Array, kernel: Array, bias: Array | None, precision: Precision, wide: Any) -> Array:
    """A product in the dtype of the kernel, summed and biased in the wide one."""
    product = dot(x, kernel, precision, wide)
    return product if bias is None else product + under(bias, product)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _recurrence(
    update: Update,
    options: Options,
    weights: Weights,
    first: Carry,
    x: Array,
    resets: Resets | None,
) -> Trajectory:
    """Runs a cell over a sequence of at least one step.

    Args:
      update: the cell's elementwise part.
      options: what to return, and how to compute it.
      weights: of the cell.
      first: the state before the first step, `[..., hidden]` each part, in a wide dtype.
      x: inputs, `[time, ..., in_features]`.
      resets: where the state starts anew, if anywhere.

    Returns:
      The states and pre-activations that were asked for.
    """

    def step(carry: Carry, given: tuple[Array, Array | None]) -> tuple[Carry, Any]:
        x, reset = given
        carry = anew(reset, resets, carry)
        preactivations, carry, _ = advance(update, options.precision, weights, carry, x)
        states = carry if options.whole else update.hidden(carry)
        return carry, (states, preactivations if options.preactivations else None)

    last, steps = lax.scan(step, first, (x, marks(resets)), unroll=options.unroll)
    return Trajectory(last, *steps)


@functools.partial(_recurrence.defjvp, symbolic_zeros=True)
def _tangent(
    update: Update, options: Options, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Trajectory, Trajectory]:
    weights, first, x, resets = primals
    dweights, dfirst, dx, dresets = tangents
    last, states, preactivations = _recurrence(
        update, options._replace(whole=True, preactivations=True), weights, first, x, resets
    )
    assert preactivations is not None
    before = states_before(first, states, resets)
    hidden = update.hidden(before)
    tangent = functools.partial(_tangent_of_affine, options.precision, hidden.dtype)
    projected = tangent(x, weights.input_kernel, dx, dweights.input_kernel, dweights.input_bias)
    recurrent = tangent(
        hidden,
        weights.recurrent_kernel,
        None,
        dweights.recurrent_kernel,
        dweights.recurrent_bias,
    )
    # Elementwise, so those of all steps are computed at once; the loop only multiplies by them.
    slopes = update.slopes(preactivations, before)
    outside = update.combine(projected, recurrent)
    inflow = update.tangent(slopes, outside, None)
    kernel = turned(weights.recurrent_kernel.astype(hidden.dtype))
    if resets is not None:
        dresets = Resets(resets.at, _instantiated(resets.state, dresets.state))

    def step(dcarry: Carry, given: Any) -> tuple[Carry, Any]:
        inflow, outside, slopes, reset = given
        dcarry = anew(reset, dresets, dcarry)
        inside = update.from_state(wide_dot(update.hidden(dcarry), kernel, options.precision))
        dcarry = jax.tree.map(jnp.add, inflow, update.tangent(slopes, inside, dcarry))
        dstates = dcarry if options.whole else update.hidden(dcarry)
        dpreactivations = None
        if options.preactivations:
            dpreactivations = tuple(
                there if here is None else there + here
                for there, here in zip(outside, inside, strict=True)
            )
        return dcarry, (dstates, dpreactivations)

    steps = inflow, outside if options.preactivations else None, slopes, marks(resets)
    dlast, dsteps = lax.scan(step, _instantiated(first, dfirst), steps, unroll=options.unroll)
    found = Trajectory(
        last,
        states if options.whole else update.hidden(states),
        preactivations if options.preactivations else None,
    )
    return found, Trajectory(dlast, *dsteps)


def _tangent_of_affine(
    precision: Precision, wide: Any, x: Array, kernel: Array, dx: Any, dkernel: Any, dbias: Any
) -> Array:
    """The tangent of `affine` at every step, in the wide dtype; symbolic zeros make no product.

    The activations are rounded as the product rounds them, tangents are not: transposed, a tangent
    that is rounded would be a gradient rounded after its sum, and one that underflows in float16.
    """
    dx, dkernel, dbias = (None if isinstance(t, SymbolicZero) else t for t in (dx, dkernel, dbias))
    terms = []
    if dx is not None:
        terms.append(wide_dot(dx.astype(wide), turned(kernel.astype(wide)), precision))
    if dkernel is not None:
        rounded = x.astype(kernel.dtype).astype(wide)
        terms.append(wide_dot(rounded, turned_tangent(dkernel.astype(wide)), precision))
    if not terms:  # zeros of the product's type; nothing else of it is used
        terms.append(jnp.zeros_like(dot(x, kernel, precision, wide)))
    product = sum(terms[1:], terms[0])
    return product if dbias is None else product + under(dbias, product)


def partials(function: Callable[..., Array], *arguments: Any) -> Any:
    """The partial derivatives of an elementwise function by each of its arguments."""
    value, pull = jax.vjp(function, *arguments)
    return pull(jnp.ones_like(value))


def weighted(slopes: Sequence[Array], tangents: Sequence[Array | None]) -> Array:
    """The sum of their products. None stands for a tangent of zero; not all may be None."""
    first, *others = (s * t for s, t in zip(slopes, tangents, strict=True) if t is not None)
    return sum(others, first)


def states_before(first: Carry, states: Carry, resets: Resets | None) -> Carry:
    """The state that each step began with, from the whole states after them."""
    before = jax.tree.map(
        lambda first, states: jnp.concatenate([first[None], states[:-1]]), first, states
    )
    return anew(marks(resets), resets, before)


def marks(resets: Resets | None) -> Array | None:
    return None if resets is None else resets.at


def anew(reset: Array | None, resets: Resets | None, carry: Carry) -> Carry:
    """The state before a step, or before all of them: another one where it is reset."""
    if reset is None or resets is None:
        return carry
    return jax.tree.map(
        lambda state, part: jnp.where(aligned(reset, part), under(state, part), part),
        resets.state,
        carry,
    )


def aligned(mark: Array, like: Array) -> Array:
    """`mark` with as many axes as `like`, the further ones last."""
    return mark.reshape(mark.shape + (1,) * (like.ndim - mark.ndim))


def _instantiated(primals: Any, tangents: Any) -> Any:
    return jax.tree.map(
        lambda p, t: jnp.zeros_like(p) if isinstance(t, SymbolicZero) else t, primals, tangents
    )


# Compiled as a whole, so that outside `jit` it is compiled once, not at every call.
recurrence = jax.jit(_recurrence, static_argnums=(0, 1))
