"""Gradient norms while an optimiser runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..functional._arguments import check_integers
from ._norms import safe_norm


class WatchState(NamedTuple):
    """What `watch` keeps, a part of the optimiser's state.

    Attributes:
      step: how many updates there were.
      norms: 2-norms of the gradients that were last looked at, a tree like the parameters'.
      smallest: the smallest norm of each since the beginning.
      not_finite: at how many of the steps looked at something was infinite or NaN.
    """

    step: Array
    norms: Any
    smallest: Any
    not_finite: Array


class GradientTransformation(NamedTuple):
    """The two functions that Optax chains."""

    init: Callable[[Any], WatchState]
    update: Callable[..., tuple[Any, WatchState]]


def watch(every: int = 1) -> GradientTransformation:
    """Looks at the gradients on their way through an Optax chain, and changes nothing.

    The norms are those of `safe_norm`: they do not underflow where the squares would.

    Args:
      every: only every so many steps, starting with the first; the others cost nothing.

    Returns:
      A transformation for `optax.chain`, whose state is a `WatchState`.

    Raises:
      ValueError: if `every` is less than 1.

    Example:
      >>> import optax, jax.numpy as jnp
      >>> optimizer = optax.chain(watch(every=10), optax.sgd(0.1))
      >>> parameters = {"w": jnp.zeros(4)}
      >>> state = optimizer.init(parameters)
      >>> _, state = optimizer.update({"w": jnp.full(4, 1e-30)}, state, parameters)
      >>> print(state[0].norms)
      {'w': Array(2.e-30, dtype=float32)}
    """
    check_integers(every=every)

    def init(parameters: Any) -> WatchState:
        zeros = jax.tree.map(lambda leaf: jnp.zeros_like(safe_norm(leaf)), parameters)
        largest = jax.tree.map(lambda zero: jnp.full_like(zero, jnp.inf), zeros)
        return WatchState(jnp.int32(0), zeros, largest, jnp.int32(0))

    def update(updates: Any, state: WatchState, params: Any = None) -> tuple[Any, WatchState]:
        del params

        def look(state: WatchState) -> WatchState:
            norms = jax.tree.map(safe_norm, updates)
            finite = [jnp.isfinite(norm) for norm in jax.tree.leaves(norms)]
            bad = 1 - jnp.all(jnp.stack(finite)).astype(jnp.int32) if finite else 0
            smallest = jax.tree.map(jnp.minimum, state.smallest, norms)
            return WatchState(state.step, norms, smallest, state.not_finite + bad)

        state = lax.cond(state.step % every == 0, look, lambda state: state, state)
        return updates, state._replace(step=state.step + 1)

    return GradientTransformation(init, update)
