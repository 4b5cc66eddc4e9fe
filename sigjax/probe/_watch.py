"""Gradient norms, and what updates come to, while an optimiser runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from ..functional._arguments import check_integers
from ..functional._messages import must
from ._findings import Finding
from ._findings._precision import lost_update
from ._names import names_of
from ._norms import safe_norm

_MOST_STEPS = 2**31 - 1  # the largest int32


class WatchState(NamedTuple):
    """What `watch` keeps, a part of the optimiser's state.

    Trees are like the parameters', and so name the layers. Their numbers are float32, or float64
    where x64 is enabled at `init`, whatever the dtype of the gradients: no update changes a
    dtype, as `lax.scan` and checkpoints need it. Steps are counted up to 2^31 - 1.

    Attributes:
      step: how many updates there were.
      norms: 2-norms of the gradients that were last looked at, finite or not.
      smallest: the smallest finite norm of each since the beginning; before there is one, the
        largest number of the dtype.
      largest: the largest finite norm of each since the beginning; before there is one, 0.
      not_finite: at how many of the steps looked at some norm was infinite or NaN.
      first_not_finite: the first such step, counted from 0; -1 if there was none.
      last_not_finite: the last such step; -1 if there was none.
      lost: of each parameter the share of its updates other than 0 that, when last looked at, were
        lost in rounding; None where the updates are not applied as they pass.
    """

    step: Array
    norms: Any
    smallest: Any
    largest: Any
    not_finite: Array
    first_not_finite: Array
    last_not_finite: Array
    lost: Any = None

    @property
    def findings(self) -> list[Finding]:
        """`lost_update`, where most of a parameter's updates are; of concrete arrays."""
        shares = jax.tree.leaves(self.lost)
        names = names_of(self.norms, of_variables=isinstance(self.step, nnx.Variable))
        known = dict(zip(names, map(float, shares), strict=True)) if shares else {}
        return list(lost_update(known))


class GradientTransformation(NamedTuple):
    """The two functions that Optax chains."""

    init: Callable[[Any], WatchState]
    update: Callable[..., tuple[Any, WatchState]]


def watch(every: int = 1, *, applied: bool = False) -> GradientTransformation:
    """Looks at the gradients on their way through an Optax chain, and changes nothing.

    The norms are those of `safe_norm`: they do not underflow where the squares would, and one of
    finite elements is infinite only where it lies beyond the dtype. A parameter that has no
    gradient in some step (`None`, Optax's `MaskedNode`, `float0` of an integer) keeps its numbers.

    Last in the chain it sees what is added to the parameters. With `applied` it then counts the
    updates that are lost: p + u rounds to p where u is below half the spacing of numbers at p,
    which in bfloat16 is |p|/512 to |p|/256. The state's `findings` name the parameters that
    stand still.

    Args:
      every: only every so many steps, starting with the first; the others cost nothing.
      applied: whether what passes is added to the parameters, as it is last in the chain.

    Returns:
      A transformation for `optax.chain`, whose state is a `WatchState`. Its `update` raises
      ValueError if the gradients are no tree like the parameters, or if `applied` needs parameters
      and there are none.

    Raises:
      TypeError: if `every` is no integer.
      ValueError: if `every` is less than 1.

    Example:
      >>> import optax, jax.numpy as jnp
      >>> optimizer = optax.chain(watch(every=10), optax.sgd(0.1))
      >>> parameters = {"w": jnp.zeros(4)}
      >>> state = optimizer.init(parameters)
      >>> _, state = optimizer.update({"w": jnp.full(4, 1e-30)}, state, parameters)
      >>> print(state[0].norms)
      {'w': Array(2.e-30, dtype=float32)}

      Updates that bfloat16 loses:

      >>> optimizer = optax.chain(optax.sgd(0.1), watch(applied=True))
      >>> parameters = {"w": jnp.ones(4, jnp.bfloat16)}
      >>> _, state = optimizer.update(
      ...     {"w": jnp.full(4, 0.01, jnp.bfloat16)}, optimizer.init(parameters), parameters)
      >>> print(state[1].lost, state[1].findings[0].kind)
      {'w': Array(1., dtype=float32)} lost_update
    """
    check_integers(every=every)

    def init(parameters: Any) -> WatchState:
        dtype = jnp.result_type(float)

        def everywhere(value: float) -> Any:
            return jax.tree.map(lambda _: jnp.full((), value, dtype), parameters)

        return WatchState(
            step=jnp.int32(0),
            norms=everywhere(0.0),
            smallest=everywhere(float(jnp.finfo(dtype).max)),  # infinity would be a debug_infs
            largest=everywhere(0.0),
            not_finite=jnp.int32(0),
            first_not_finite=jnp.int32(-1),
            last_not_finite=jnp.int32(-1),
            lost=everywhere(0.0) if applied else None,
        )

    def update(updates: Any, state: WatchState, params: Any = None) -> tuple[Any, WatchState]:
        if applied and params is None:
            raise ValueError(
                must(
                    "params",
                    "be given to update where applied=True",
                    "None",
                    of="sigjax.probe.watch",
                )
            )
        try:
            jax.tree.map(lambda norm, gradient: None, state.norms, updates)
        except ValueError as error:
            raise ValueError(
                must("updates", "be a tree like the parameters", error, of="sigjax.probe.watch")
            ) from error
        state = lax.cond(
            state.step % every == 0,
            lambda state: _look(updates, state, params),
            lambda state: state,
            state,
        )
        counts = (state.step < _MOST_STEPS).astype(jnp.int32)
        return updates, state._replace(step=state.step + counts)

    return GradientTransformation(init, update)


def _look(gradients: Any, state: WatchState, params: Any) -> WatchState:
    found = jax.tree.map(_norm, state.norms, gradients)
    finite = [jnp.isfinite(norm) for norm in jax.tree.leaves(found)]
    bad = ~jnp.all(jnp.stack(finite)) if finite else jnp.bool_(False)
    first = jnp.where(state.not_finite == 0, state.step, state.first_not_finite)

    def extreme(choose: Callable[[Array, Array], Array], olds: Any) -> Any:
        def chosen(old: Array, norm: Array | None) -> Array:
            return old if norm is None else jnp.where(jnp.isfinite(norm), choose(old, norm), old)

        return jax.tree.map(chosen, olds, found)

    return WatchState(
        step=state.step,
        norms=jax.tree.map(lambda old, norm: old if norm is None else norm, state.norms, found),
        smallest=extreme(jnp.minimum, state.smallest),
        largest=extreme(jnp.maximum, state.largest),
        not_finite=state.not_finite + bad.astype(jnp.int32),
        first_not_finite=jnp.where(bad, first, state.first_not_finite),
        last_not_finite=jnp.where(bad, state.step, state.last_not_finite),
        lost=None
        if state.lost is None
        else jax.tree.map(_share_lost, state.lost, gradients, params),
    )


def _norm(old: Array, gradient: Any) -> Array | None:
    """The norm of a parameter's gradient, in the dtype of the old one; None if there is none."""
    leaves = [leaf for leaf in jax.tree.leaves(gradient) if not _is_float0(leaf)]
    return safe_norm(leaves).astype(old.dtype) if leaves else None


def _share_lost(old: Array, updates: Any, parameters: Any) -> Array:
    """The share of a parameter's updates that a sum rounds away; the old one if it has none."""
    pairs = [
        (u, p)
        for u, p in zip(jax.tree.leaves(updates), jax.tree.leaves(parameters), strict=False)
        if not _is_float0(u)
    ]
    if not pairs:
        return old
    moved, lost = jnp.zeros((), old.dtype), jnp.zeros((), old.dtype)
    for u, p in pairs:
        with jax.numpy_dtype_promotion("standard"):
            wide = jnp.promote_types(u.dtype, p.dtype)
        stays = (p.astype(wide) + u.astype(wide)).astype(p.dtype) == p
        moved += jnp.sum((u != 0).astype(old.dtype))
        lost += jnp.sum(((u != 0) & stays).astype(old.dtype))
    return lost / jnp.maximum(moved, 1)


def _is_float0(leaf: Any) -> bool:
    return getattr(leaf, "dtype", None) == jax.dtypes.float0
