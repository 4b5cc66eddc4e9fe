"""The transformation that users call."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.extend.core import jaxpr_as_fun

from ._rewrite import Rewriter

F = TypeVar("F", bound=Callable[..., Any])


def stabilize(fn: F) -> F:
    r"""Gives a function sigjax's sigmoids, without an edit.

    The function is traced, and in its jaxpr these forms are replaced:

    * `logistic(x)`, $1/(1+e^{-x})$, $e^x/(1+e^x)$ by `sigjax.sigmoid`, $x\,\sigma(x)$ by
      `sigjax.silu`;
    * `logaddexp(x, 0)`, `log1p(exp(x))`, `log(1 + exp(x))`, $\max(x,0) + \log(1+e^{-|x|})$ by
      `sigjax.softplus`, `logaddexp(a, b)` by `sigjax.logaddexp`;
    * $\log\sigma(x)$ and $\log(1 - \sigma(x))$ by `log_sigmoid` and `log1m_sigmoid`;
    * the derivatives that JAX forms of them, where a gradient was taken inside: `ans * (1 - ans)`
      and `exp(x - softplus(x))`.

    That covers `jax.nn.sigmoid`, `silu`, `softplus`, `log_sigmoid`, Optax's sigmoid losses and
    the cells of Flax. They are found under `jit`, `scan`, `while_loop`, `cond`, `checkpoint`,
    `vmap`, `shard_map` and in functions with custom derivatives, whose rules stay what they are
    but for the same forms. Everything else stays the same equation, with its name, sharding and
    effects. Values are right to 3 ulp, so where JAX's were they stay; where they had lost their
    digits (`log(1 - sigmoid(20.))` was infinite) they are there.

    Derivatives of every order are sigjax's if they are taken outside: `jax.grad(stabilize(f))`.
    `stabilize(jax.grad(f))` has them to first order.

    Args:
      fn: any function that JAX can trace. Arrays in its arguments are traced; everything else
        (Python numbers, strings, functions, NumPy arrays) is left as it is, so there is no need
        to mark static arguments. Flax NNX modules among the arguments, or `fn` itself being one
        or a method of one, are kept in their state as by `nnx.jit`.

    Returns:
      A function with the signature of `fn`. It traces `fn` at every call; wrap it in `jax.jit`
      to do so once.

    Raises:
      TypeError: if `fn` is not callable.

    Warns:
      StabilizeWarning: names what holds such a form and could not be entered, such as a Pallas
        kernel.

    Example:
      >>> import jax, sigjax
      >>> def neuron(x):
      ...     return jax.nn.sigmoid(x)
      >>> slopes = (jax.grad(f)(17.0) for f in (neuron, sigjax.stabilize(neuron)))
      >>> print(*(f"{slope:.4e}" for slope in slopes))
      0.0000e+00 4.1399e-08
    """
    if not callable(fn):
        raise TypeError(f"stabilize: fn must be a function, got {type(fn).__name__}: {fn!r}")
    owner = fn if _is_graph(fn) else getattr(fn, "__self__", None)

    @functools.wraps(fn)
    def stabilized(*args: Any, **kwargs: Any) -> Any:
        if not _is_graph(owner):
            return _call(fn, args, kwargs)
        function = type(owner).__call__ if fn is owner else cast(Any, fn).__func__
        return _call(function, (owner, *args), kwargs)

    return cast(F, stabilized)


def _call(fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_graph)
    graphs = tuple(leaf for leaf in leaves if _is_graph(leaf))
    if not graphs:
        return _run(fn, args, kwargs)

    # A function of NNX objects is run as a pure one of their state, which then is brought back.
    from flax import nnx

    structure, state = nnx.split(graphs)
    others = [None if _is_graph(leaf) else leaf for leaf in leaves]

    def pure(state: Any, others: list[Any]) -> Any:
        copies = nnx.merge(structure, state, copy=True)
        remaining = iter(copies)
        given = [
            next(remaining) if _is_graph(leaf) else other
            for leaf, other in zip(leaves, others, strict=True)
        ]
        args, kwargs = jax.tree.unflatten(tree, given)
        return fn(*args, **kwargs), nnx.state(copies)

    result, new_state = _run(pure, (state, others), {})
    nnx.update(graphs, new_state)
    return result


def _is_graph(thing: Any) -> bool:
    """Whether it is an NNX object, which has state; without importing Flax to find out."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(thing, nnx.Module | nnx.Rngs | nnx.Optimizer)


def _run(fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    leaves, tree = jax.tree.flatten((args, kwargs))
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    output: dict[str, Any] = {}

    def on_arrays(*arrays: jax.Array) -> list[jax.Array]:
        remaining = iter(arrays)
        given = [next(remaining) if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
        args, kwargs = jax.tree.unflatten(tree, given)
        results, output["tree"] = jax.tree.flatten(fn(*args, **kwargs))
        output["fixed"] = [None if isinstance(leaf, jax.Array) else (leaf,) for leaf in results]
        return [leaf for leaf in results if isinstance(leaf, jax.Array)]

    closed = Rewriter(stabilize).rewrite(jax.make_jaxpr(on_arrays)(*arrays))
    computed = iter(jaxpr_as_fun(closed)(*arrays))
    results = [next(computed) if leaf is None else leaf[0] for leaf in output["fixed"]]
    return jax.tree.unflatten(output["tree"], results)
