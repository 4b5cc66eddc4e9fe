"""Functions of sharded beside replicated arguments, on eight devices, beside their peers.

A program, run by test_meshes.py once for each kind of axes, of which the explicit ones come in
three parts:

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python tests/meshes.py "explicit 1/3"

It prints where a result differs from the peer's or is sharded otherwise, and where a compiled
program has a collective that the peer's does not have.
"""

import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax
from sigjax import losses

# Shapes and shardings of an argument; "number" is a Python number.
LAYOUTS: dict[str, tuple[tuple[int, ...], P]] = {
    "batch": ((8, 4), P("batch")),
    "features": ((8, 4), P(None, "features")),
    "both": ((8, 4), P("batch", "features")),
    "replicated": ((8, 4), P()),
    "row": ((4,), P()),
    "sharded row": ((4,), P("features")),
    "scalar": ((), P()),
    "number": ((), P()),
}
# of the first argument, and of the others
PAIRS = [
    ("batch", "replicated"),
    ("batch", "number"),
    ("both", "features"),
    ("both", "sharded row"),
    ("replicated", "both"),
    ("scalar", "batch"),
]
# What losses are called with, which share the code that gives their arguments one sharding.
FEW_PAIRS = [("batch", "replicated"), ("both", "sharded row"), ("batch", "number")]
# On automatic axes nothing is refused, and the compiler places what it likes.
FEW = {"auto": [("batch", "replicated"), ("both", "row")], "manual": [("batch", "row")]}
PARTS = 3
AXES = {
    **{f"explicit {part}/{PARTS}": AxisType.Explicit for part in range(1, PARTS + 1)},
    "auto": AxisType.Auto,
    "manual": AxisType.Auto,
}


class Case(NamedTuple):
    """A function of several arguments.

    Attributes:
      function: ours.
      peer: what it replaces.
      intervals: where each argument is taken from.
      same_number: whether no kind of collective may occur more often than in the peer; else no
        kind may occur that does not occur there.
      pairs: on explicit axes, the layouts of the first argument and of the others.
    """

    function: Callable[..., Array]
    peer: Callable[..., Array]
    intervals: Sequence[tuple[float, float]]
    same_number: bool = True
    pairs: Sequence[tuple[str, str]] = PAIRS


def _log_sigmoid_diff(a: Array, b: Array) -> Array:
    return jnp.log(jax.nn.sigmoid(a) - jax.nn.sigmoid(b))


def _soft_switch(x: Array, on: Array, off: Array) -> Array:
    return jax.nn.sigmoid(x) * on + jax.nn.sigmoid(-x) * off


def _log_det(x: Array, low: Array, high: Array) -> Array:
    return jnp.log(high - low) + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)


def _cross_entropy(z: Array, y: Array, w: Array = 1.0, s: Array = 0.0) -> Array:
    y = (1 - s) * y + s / 2
    return -w * y * jax.nn.log_sigmoid(z) - (1 - y) * jax.nn.log_sigmoid(-z)


def _preference(c: Array, r: Array, beta: Array, margin: Array, s: Array) -> Array:
    x = beta * (c - r) - margin
    return -(1 - s) * jax.nn.log_sigmoid(x) - s * jax.nn.log_sigmoid(-x)


def _odds_ratio(c: Array, r: Array, beta: Array) -> Array:
    log_odds = c - r - jnp.log1p(-jnp.exp(c)) + jnp.log1p(-jnp.exp(r))
    return -beta * jax.nn.log_sigmoid(log_odds)


# optax's focal loss has another gradient by labels of 0 and 1: its logsumexp drops their terms.
def _focal(z: Array, y: Array, alpha: Array, gamma: Array) -> Array:
    miss = y * jax.nn.sigmoid(-z) + (1 - y) * jax.nn.sigmoid(z)
    return (alpha * y + (1 - alpha) * (1 - y)) * miss**gamma * _cross_entropy(z, y)


def _masked(z: Array, y: Array, x: Array) -> Array:
    return jnp.where(jnp.asarray(x) > 0, _cross_entropy(z, y), 0)


# One more function is one more line.
CASES = {
    "logaddexp": Case(sigjax.logaddexp, jnp.logaddexp, [(-1, 1), (-2, 2)]),
    "logsubexp": Case(
        sigjax.logsubexp, lambda a, b: a + jnp.log(-jnp.expm1(b - a)), [(1, 2), (-1, 0.5)]
    ),
    "log_sigmoid_diff": Case(sigjax.log_sigmoid_diff, _log_sigmoid_diff, [(1, 2), (-1, 0.5)]),
    "soft_switch": Case(sigjax.soft_switch, _soft_switch, [(-2, 2), (1, 3), (-1, 0)]),
    "bounded_sigmoid": Case(
        sigjax.bounded_sigmoid, lambda x, a, b: a + (b - a) * jax.nn.sigmoid(x),
        [(-2, 2), (-1, 0), (1, 3)],
    ),
    "bounded_logit": Case(
        sigjax.bounded_logit, lambda y, a, b: jnp.log((y - a) / (b - y)),
        [(0.1, 0.9), (-1, 0), (1, 3)],
    ),
    # The formula subtracts low from high before they meet x: one gradient is minus the other.
    "bounded_sigmoid_log_det": Case(
        sigjax.bounded_sigmoid_log_det, _log_det, [(-2, 2), (-1, 0), (1, 3)], same_number=False
    ),
    "cross-entropy": Case(
        losses.sigmoid_binary_cross_entropy, optax.losses.sigmoid_binary_cross_entropy,
        [(-2, 2), (0, 1)], pairs=PAIRS,
    ),
    # The formula smooths the labels before they meet the logits: two gradients are one sum.
    "weighted and smoothed cross-entropy": Case(
        lambda z, y, w, s: losses.sigmoid_binary_cross_entropy(
            z, y, pos_weight=w, label_smoothing=s
        ),
        _cross_entropy, [(-2, 2), (0, 1), (1, 3), (0.1, 0.2)], same_number=False, pairs=FEW_PAIRS,
    ),
    "masked cross-entropy": Case(
        lambda z, y, x: losses.sigmoid_binary_cross_entropy(z, y, where=jnp.asarray(x) > 0),
        _masked, [(-2, 2), (0, 1), (-1, 1)], pairs=FEW_PAIRS,
    ),
    "focal": Case(
        losses.sigmoid_focal_loss,
        _focal, [(-2, 2), (0, 1), (0.2, 0.3), (1, 3)], pairs=FEW_PAIRS,
    ),
    "squared error": Case(
        losses.squared_error_on_sigmoid, lambda z, y: (jax.nn.sigmoid(z) - y) ** 2,
        [(-2, 2), (0, 1)], pairs=FEW_PAIRS,
    ),
    "preference": Case(
        lambda c, r, b, m, s: losses.preference_loss(c, r, beta=b, margin=m, label_smoothing=s),
        _preference, [(-2, 2), (-1, 1), (0.5, 2), (0, 1), (0.1, 0.2)], pairs=FEW_PAIRS,
    ),
    "odds ratio": Case(
        lambda c, r, b: losses.odds_ratio_preference_loss(c, r, beta=b),
        _odds_ratio, [(-2, -0.1), (-3, -0.5), (0.5, 2)], pairs=FEW_PAIRS,
    ),
}  # fmt: skip

COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)


def collectives(text: str) -> Counter[str]:
    """How many arrays of a compiled program go through which collective."""
    found = Counter[str]()
    for result, name in COLLECTIVE.findall(text):
        found[name] += len(re.findall(r"\w+\[", result))
    return found


def _argument(interval: tuple[float, float], layout: str, mesh: Any) -> Any:
    shape, spec = LAYOUTS[layout]
    if layout == "number":
        return float(np.mean(interval))
    values = np.linspace(*interval, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return values if mesh is None else jax.device_put(values, NamedSharding(mesh, spec))


def _arguments(case: Case, pairs: Sequence[tuple[str, str]], mesh: Any) -> list[tuple[Any, ...]]:
    return [
        tuple(
            _argument(interval, others if i else first, mesh)
            for i, interval in enumerate(case.intervals)
        )
        for first, others in pairs
    ]


def _values_and_gradients(function: Callable[..., Array]) -> Callable[..., Any]:
    def evaluate(every: list[tuple[Any, ...]]) -> list[tuple[Array, ...]]:
        found = []
        for arguments in every:
            wanted = tuple(i for i, x in enumerate(arguments) if not isinstance(x, float))

            def total(*arguments: Any) -> tuple[Array, Array]:
                # A sum would have a cotangent of ones, whose collectives some formulas fold away.
                value = function(*arguments)
                return jnp.sum(value**2), value

            (_, value), gradients = jax.value_and_grad(total, wanted, has_aux=True)(*arguments)
            found.append((value, *gradients))
        return found

    return evaluate


def _compiled(function: Callable[..., Array], every: list[tuple[Any, ...]]) -> Any:
    """One program for all pairs; numbers stay numbers in it."""
    arrays, tree = jax.tree.flatten(every)
    is_array = [not isinstance(x, float) for x in arrays]

    def program(given: list[Array]) -> Any:
        rest = iter(given)
        filled = [next(rest) if a else x for a, x in zip(is_array, arrays, strict=True)]
        return _values_and_gradients(function)(jax.tree.unflatten(tree, filled))

    given = [x for a, x in zip(is_array, arrays, strict=True) if a]
    return jax.jit(program).lower(given).compile(), given


def _by_hand(function: Callable[..., Array], mesh: Any) -> Callable[..., Array]:
    """A function whose first argument is sharded and whose others are replicated, on shards."""
    return lambda first, *others: jax.shard_map(
        function, mesh=mesh, in_specs=(P("batch"), *(P() for _ in others)), out_specs=P("batch")
    )(first, *others)


def _pairs(name: str, kind: str) -> Sequence[tuple[str, str]]:
    """The layouts that are tried.

    On explicit axes a part takes every third pair of a function, from the first, second or third on
    in turn, so that it has all functions and, over all of them, all pairs.
    """
    if kind in FEW:
        return FEW[kind]
    first = list(CASES).index(name) + list(AXES).index(kind)
    return CASES[name].pairs[first % PARTS :: PARTS]


def _complaints(name: str, kind: str) -> Iterator[str]:
    case, pairs = CASES[name], _pairs(name, kind)
    mesh = jax.make_mesh((4, 2), ("batch", "features"), axis_types=(AXES[kind],) * 2)
    with jax.set_mesh(mesh):
        every, function, peer = _arguments(case, pairs, mesh), case.function, case.peer
        if kind == "manual":
            function, peer = _by_hand(function, mesh), _by_hand(peer, mesh)
        programs = [_compiled(f, every) for f in (function, peer)]
        ours, theirs = (program(given) for program, given in programs)
    counts = [collectives(program.as_text()) for program, _ in programs]
    if counts[0] - counts[1] if case.same_number else counts[0].keys() - counts[1].keys():
        yield f"collectives {dict(counts[0])}, the peer's {dict(counts[1])}"
    for pair, mine, other in zip(pairs, ours, theirs, strict=True):
        for i, (x, y) in enumerate(zip(mine, other, strict=True)):
            what = f"{' beside '.join(pair)}, {'value' if i == 0 else f'gradient {i}'}"
            if x.shape != y.shape or x.dtype != y.dtype:
                yield f"{what}: {x.dtype}{x.shape}, the peer's {y.dtype}{y.shape}"
            elif (kind != "auto" or i == 0) and not x.sharding.is_equivalent_to(y.sharding, x.ndim):
                # Of automatic axes the compiler chooses, for gradients by what it finds cheap.
                yield f"{what}: sharded as {x.sharding.spec}, the peer's as {y.sharding.spec}"
            elif not np.allclose(x, y, rtol=1e-5, atol=1e-5):
                yield f"{what}: {np.max(np.abs(np.asarray(x) - np.asarray(y)))} off"


def main(kind: str, names: Sequence[str]) -> None:
    """Tries the cases, all of them if none is named."""
    for name in names or CASES:
        try:
            found = list(itertools.islice(_complaints(name, kind), 5))
        except Exception as error:
            found = [f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"]
        for complaint in found:
            print(f"{name}, {kind}: {complaint}")
    print(f"{len(names or CASES)} cases", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
