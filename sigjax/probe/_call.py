"""A call of a loss, taken apart into arrays and the rest, and put together again."""

import dataclasses
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from .._reach import Reach
from ..functional._messages import must
from ._mark import Layer
from ._modules import is_layer, mark_calls
from ._names import names_of


class Parts:
    """A pytree of arguments without its arrays."""

    def __init__(self, tree: Any):
        leaves, self.tree = jax.tree.flatten(tree)
        self.arrays = [leaf for leaf in leaves if _is_array(leaf)]
        self.fixed = [(None, True) if _is_array(leaf) else (leaf, False) for leaf in leaves]
        self.key = (
            self.tree,
            tuple(
                None if is_array else (type(leaf), _hashable(leaf)) for leaf, is_array in self.fixed
            ),
        )

    def fill(self, arrays: Sequence[Any]) -> Any:
        remaining = iter(arrays)
        leaves = [next(remaining) if is_array else leaf for leaf, is_array in self.fixed]
        return jax.tree.unflatten(self.tree, leaves)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def _hashable(leaf: Any) -> Hashable:
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return repr(leaf) if isinstance(leaf, float) else leaf


def describe(arrays: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        (x.shape, x.dtype, getattr(x, "weak_type", False), getattr(jax.typeof(x), "sharding", None))
        for x in arrays
    )


class Outcome:
    """What a loss returned and left, arrays apart, noted while it is traced."""

    def __init__(self, has_aux: bool):
        self._has_aux = has_aux
        self._aux: Parts | None = None
        self.state: Any = None  # structure of the model's new state

    def take(self, other: "Outcome") -> None:
        """Notes what was noted for an equal call."""
        self._aux, self.state = other._aux, other.state

    def arrays(self, result: Any) -> list[Any]:
        loss, aux = _checked(result, self._has_aux)
        self._aux = Parts(aux)
        return [loss, *self._aux.arrays]

    def split(self, rest: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """`aux`, and what comes behind it."""
        assert self._aux is not None
        count = len(self._aux.arrays)
        return self._aux.fill(rest[:count]), rest[count:]


@dataclasses.dataclass
class Call:
    """What a loss is called with.

    Attributes:
      parameters: arrays that the gradient is taken of.
      names: of the parameters.
      others: all other arrays.
      batch: which of those were given as arguments.
      key: equal for calls that are traced to the same program, if `reach` has not changed.
      loss: of lists of parameters and others, a list of arrays with the loss first.
      gradients: puts a list of gradients into the model's form.
      finish: given what `loss` returned behind the loss, updates the model and gives `aux`.
      outcome: what the loss returned, once it has been traced.
      reach: adds to a `Reach` what the program depends on besides the loss function.
      wanted: which marked layers have a row; None if layers are operations with a parameter.
    """

    parameters: list[Any]
    names: list[str]
    others: list[Any]
    batch: list[int]
    key: Hashable
    loss: Callable[[list[Any], list[Any]], list[Any]]
    gradients: Callable[[Sequence[Any]], Any]
    finish: Callable[[Sequence[Any]], Any]
    outcome: Outcome
    reach: Callable[[Reach], None]
    wanted: Callable[[Layer], bool] | None


def _checked(result: Any, has_aux: bool) -> tuple[Any, Any]:
    if has_aux:
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(must("loss_fn", "return (loss, aux) with has_aux=True", _words(result)))
        loss, aux = result
    else:
        loss, aux = result, None
        if isinstance(result, tuple) and len(result) == 2:
            raise TypeError(
                must(
                    "loss_fn",
                    "return a scalar",
                    f"{_words(result)}; if the second is auxiliary output, pass has_aux=True",
                )
            )
    if isinstance(loss, float):
        loss = jnp.asarray(loss)
    if not _is_array(loss) or loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise TypeError(
            must(
                "loss_fn",
                "return a floating scalar",
                f"{_words(loss)}; take a mean or sum, or the real part",
            )
        )
    return jnp.asarray(loss), aux


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_words, value))})"
    return f"{value.dtype}{list(value.shape)}" if _is_array(value) else type(value).__name__


def of_module(
    model: nnx.Module, loss_fn: Callable[..., Any], has_aux: bool, args: Any, kwargs: Any
) -> Call:
    """A loss of an NNX module."""
    split: Any = nnx.split(model, nnx.Param, ...)
    graph, state, rest = split
    parameters, structure = jax.tree.flatten(state)
    names = names_of(state, of_variables=True)
    held, rest_structure = jax.tree.flatten(rest)
    parts = Parts((args, kwargs))
    outcome = Outcome(has_aux)
    check_arrays(names, parameters, parts.arrays)

    def loss(parameters: list[Any], others: list[Any]) -> list[Any]:
        own = jax.tree.unflatten(structure, parameters)
        kept = jax.tree.unflatten(rest_structure, others[: len(held)])
        copy = nnx.merge(graph, own, kept, copy=True)
        mark_calls(copy)
        args, kwargs = parts.fill(others[len(held) :])
        arrays = outcome.arrays(loss_fn(copy, *args, **kwargs))
        after: Any = nnx.split(copy, nnx.Param, ...)
        new = after[2]
        outcome.state = jax.tree.structure(new)
        return [*arrays, *jax.tree.leaves(new)]

    def finish(rest: Sequence[Any]) -> Any:
        aux, new = outcome.split(rest)
        nnx.update(model, jax.tree.unflatten(outcome.state, new))
        return aux

    def reach(reach: Reach) -> None:
        for _, node in nnx.iter_graph(model):
            if isinstance(node, nnx.Module):
                reach.add(type(node))
                for value in vars(node).values():
                    if callable(value) and not isinstance(value, nnx.Pytree | nnx.Variable):
                        reach.add(value)

    arrays = [*parameters, *held, *parts.arrays]
    first = len(held)
    return Call(
        parameters,
        names,
        [*held, *parts.arrays],
        list(range(first, first + len(parts.arrays))),
        (graph, structure, rest_structure, parts.key, describe(arrays), has_aux),
        loss,
        lambda gradients: jax.tree.unflatten(structure, gradients),
        finish,
        outcome,
        reach,
        is_layer,
    )


def check_arrays(names: Sequence[str], parameters: Sequence[Any], others: Any) -> None:
    """Refuses what no gradient can be taken of, by name."""
    if not parameters:
        raise ValueError(must("model", "have parameters, whose gradient is to be followed", "none"))
    for name, value in zip(names, parameters, strict=True):
        if isinstance(value, jax.ShapeDtypeStruct):
            raise TypeError(
                must("model", "have values", f"a shape alone for {name}; initialise it first")
            )
        if _is_deleted(value):
            raise ValueError(
                must(
                    "model",
                    "hold arrays that are still there",
                    f"{name}, donated or deleted; pass the model that came back",
                )
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(must("model", "have floating parameters", f"{value.dtype} of {name}"))
    if any(map(_is_deleted, others)):
        raise ValueError(
            must("batch", "hold arrays that are still there", "one that was donated or deleted")
        )


def _is_deleted(value: Any) -> bool:
    concrete = isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    return concrete and value.is_deleted()


def of_arrays(
    parameters: list[Any],
    names: list[str],
    held: Parts,
    given: Parts,
    has_aux: bool,
    structure: Hashable,
    evaluate: Callable[[Sequence[Any], Any, Any], Any],
    gradients: Callable[[Sequence[Any]], Any],
    reach: Callable[[Reach], None],
    wanted: Callable[[Layer], bool] | None,
) -> Call:
    """A loss that updates no model.

    Args:
      parameters, names: what the gradient is taken of.
      held: what else belongs to the model.
      given: the loss's arguments, `(args, kwargs)`.
      has_aux: whether it returns a pair.
      structure: what else the program depends on.
      evaluate: the loss of parameters, of what `held` holds and of the arguments.
      gradients, reach, wanted: see `Call`.
    """
    outcome = Outcome(has_aux)
    check_arrays(names, parameters, given.arrays)
    first = len(held.arrays)

    def loss(parameters: list[Any], others: list[Any]) -> list[Any]:
        arguments = given.fill(others[first:])
        return outcome.arrays(evaluate(parameters, held.fill(others[:first]), arguments))

    arrays = [*parameters, *held.arrays, *given.arrays]
    return Call(
        parameters,
        names,
        [*held.arrays, *given.arrays],
        list(range(first, first + len(given.arrays))),
        (structure, held.key, given.key, describe(arrays), has_aux),
        loss,
        gradients,
        lambda rest: outcome.split(rest)[0],
        outcome,
        reach,
        wanted,
    )


def of_tree(tree: Any, loss_fn: Callable[..., Any], has_aux: bool, args: Any, kwargs: Any) -> Call:
    """A loss of a pytree whose floating arrays are parameters."""
    leaves, structure = jax.tree.flatten(tree)
    trained = [_is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    parameters = [leaf for leaf, is_one in zip(leaves, trained, strict=True) if is_one]
    names = [name for name, is_one in zip(names_of(tree), trained, strict=True) if is_one]
    held = Parts([None if is_one else leaf for leaf, is_one in zip(leaves, trained, strict=True)])

    def put(parameters: Sequence[Any], kept: Sequence[Any]) -> Any:
        own = iter(parameters)
        return jax.tree.unflatten(
            structure,
            [next(own) if is_one else leaf for is_one, leaf in zip(trained, kept, strict=True)],
        )

    def evaluate(parameters: Sequence[Any], kept: Any, arguments: Any) -> Any:
        args, kwargs = arguments
        return loss_fn(put(parameters, kept), *args, **kwargs)

    return of_arrays(
        parameters,
        names,
        held,
        Parts((args, kwargs)),
        has_aux,
        (structure, tuple(trained)),
        evaluate,
        lambda gradients: put(gradients, held.fill([None] * len(held.arrays))),
        lambda reach: reach.add_tree(structure),
        None,
    )


def call_of(model: Any, loss_fn: Callable[..., Any], has_aux: bool, args: Any, kwargs: Any) -> Call:
    """A call of a loss of an NNX module, or of any pytree of parameters."""
    if not callable(loss_fn):
        raise TypeError(must("loss_fn", "be a function", type(loss_fn).__name__))
    if isinstance(model, nnx.Module):
        return of_module(model, loss_fn, has_aux, args, kwargs)
    linen = sys.modules.get("flax.linen")
    if linen is not None and isinstance(model, linen.Module):
        raise TypeError(
            must(
                "model",
                "hold its parameters",
                "a Linen module, which has none: pass the parameters, with a loss that calls "
                "`module.apply`, or use diagnose_linen with `module.bind(variables)`",
            )
        )
    if callable(model) and jax.tree_util.all_leaves([model]):
        raise TypeError(
            must("model", "be a flax.nnx.Module or a pytree of parameters", type(model).__name__)
        )
    return of_tree(model, loss_fn, has_aux, args, kwargs)
