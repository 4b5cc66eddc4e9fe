"""The transformation that users call."""

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..functional._messages import must
from ._program import Mixed
from ._programs import Programs, plainly
from ._quick import ARRAYS
from ._state import call_with_state, has_graphs, is_graph

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
    effects. Values are right to 3 ulp: JAX's stay where they were right, and where their digits had
    been lost (`log(1 - sigmoid(20.))` was infinite) the digits are there.

    The parts of a form may be reshaped, transposed, indexed, broadcast, concatenated, chosen
    among by `where`, cast to another float format, or computed in another compiled function: a
    hand-written `-log(where(y, p, 1 - p[..., 0]))` is found. A clip of p, or a small number added
    to it, changes values by design: such a logarithm stays, and a warning names it.

    Derivatives of every order are sigjax's if they are taken outside: `jax.grad(stabilize(f))`.
    `stabilize(jax.grad(f))` has them to first order.

    Args:
      fn: any function that JAX can trace. Arrays in its arguments are traced; everything else
        (Python numbers, strings, functions, NumPy arrays) is left as it is, so there is no need
        to mark static arguments. Flax NNX modules among the arguments, or `fn` itself being one
        or a method of one, are kept in their state as by `nnx.jit`.

    Returns:
      A function with the signature of `fn`. Within `jit` and other transformations that trace,
      `fn` is traced and rewritten where it stands. Elsewhere it is compiled, as by `jax.jit`, and
      the program is kept by what `jit` goes by (structure, shapes, dtypes, weak types, shardings,
      mesh, settings), by the values of arguments that are no arrays, and for as long as all that
      `fn` can reach is what it was: code and defaults of functions, cells and globals, contents
      of lists, dicts, tuples and NumPy arrays, classes of modules. They are compared at every
      call. A change of any is seen in the next call.
      `fn` is traced at every call, as long as that takes, if it reaches what could change unseen:
      an instance of a class (a configuration, a Linen module, an NNX module that is not an
      argument), NumPy's random numbers, an iterator, a NumPy array of more than 1 MiB; or if it
      has effects on Python, such as `print` or appending to a list. `jax.jit(stabilize(fn))` does
      without: it traces once, and takes what `fn` reaches for constant. JAX, NumPy, Flax, Optax
      and the standard library's mathematics are taken not to change.

    Raises:
      TypeError: if `fn` is not callable.

    Warns:
      StabilizeWarning: names the line with a form that stays as it is: a logarithm of a sigmoid
        behind a clip or an offset, or out of a loop or custom derivative; a form in what cannot
        be entered, such as a Pallas kernel. It is given when the function is traced.

    Example:
      >>> import jax, sigjax
      >>> def neuron(x):
      ...     return jax.nn.sigmoid(x)
      >>> slopes = (jax.grad(f)(17.0) for f in (neuron, sigjax.stabilize(neuron)))
      >>> print(*(f"{slope:.4e}" for slope in slopes))
      0.0000e+00 4.1399e-08
    """
    if not callable(fn):
        raise TypeError(
            must("fn", "be a function", f"{type(fn).__name__}: {fn!r}", of="sigjax.stabilize")
        )
    owner = fn if is_graph(fn) else getattr(fn, "__self__", None)
    if is_graph(owner):
        function = type(owner).__call__ if fn is owner else cast(Any, fn).__func__
        return cast(F, functools.wraps(fn)(functools.partial(_stabilized(function), owner)))
    return _stabilized(fn)


# Programs outlive the function that `stabilize` returned, and go with the one that it was given.
_KNOWN: weakref.WeakKeyDictionary[types.FunctionType, Programs] = weakref.WeakKeyDictionary()


def _stabilized(fn: F) -> F:
    if isinstance(fn, types.FunctionType):
        programs = _KNOWN.setdefault(fn, Programs(fn))
    else:
        programs = Programs(fn)
    of_arrays, find = programs.quick.of_arrays, programs.quick.find

    @functools.wraps(fn)
    def stabilized(*args: Any, **kwargs: Any) -> Any:
        program, arrays = None, args
        if not kwargs:
            for argument in args:
                if type(argument) not in ARRAYS:
                    break
            else:
                program = of_arrays.get(len(args))
        if program is None:
            program, arrays = find(args, kwargs)
        if program is not None and program.unchanged(fn):
            result = program.compiled(*arrays)
            return result if type(result) is not Mixed else result.whole()
        if has_graphs(args, kwargs):
            return call_with_state(programs, args, kwargs)
        return programs.call(plainly, args, kwargs)

    return cast(F, stabilized)
