"""Partial derivatives of functions of several arguments, held against mpmath.

A `Joint` says what a function is: itself, its definition in `jets`, where it is defined, and
where two rounded numbers make it 0. `hunt` draws points (ties, near ties, opposites, huge
against tiny), walks to the roots between them and to the neighbours of the worst, and returns
the largest error of every partial derivative.
"""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath as mp
import numpy as np
from jax import Array

from . import jets

Orders: TypeAlias = tuple[int, ...]  # a multi-index: how often by each argument
Generator: TypeAlias = np.random.Generator
Numbers: TypeAlias = Callable[[Generator, int, np.dtype], np.ndarray]
Draw: TypeAlias = Callable[[Generator, int, int, np.dtype], np.ndarray]

_TYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("bfloat16", "float16")}
_TYPES |= {name: np.dtype(name) for name in ("float32", "float64")}


class Found(NamedTuple):
    """The largest error of one partial derivative.

    Attributes:
      ulp: that error.
      inputs: where it is, or where a result is wrong.
      wrong: how many results are 0 (beyond what `terms` allow), infinite or NaN where the truth
        is a normal number; NaN or above twice the smallest normal number where it is smaller; NaN
        or below the largest number where it is larger.
      normal: at how many points the truth is a normal number.
    """

    ulp: float
    inputs: tuple[float, ...]
    wrong: int
    normal: int


def reals(generator: Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers of either sign: most where exponentials change, some of every size, some special."""
    info = jnp.finfo(dtype)
    least, most = np.log10(float(info.tiny)), np.log10(float(info.max))
    computed = jnp.finfo(np.promote_types(dtype, np.float32))
    wide = np.log10(-1.05 * np.log(float(computed.tiny)))
    usual = 10.0 ** generator.uniform(max(least, -9.0), min(most, wide), count)
    every = 10.0 ** generator.uniform(least, most, count)
    special = generator.choice([0.0, 1.0, 0.5, float(info.tiny), float(info.max)], count)
    kind = generator.choice(3, count, p=[0.75, 0.2, 0.05])
    size = np.select([kind == 0, kind == 1], [usual, every], special)
    return size * generator.choice([-1.0, 1.0], count)


def positives(generator: Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Positive numbers of every size, most of them near 1."""
    most = np.log10(float(jnp.finfo(dtype).max)) - 1
    size = generator.uniform(-1, 1, count) * generator.choice([1.0, 1.0, most], count)
    return 10.0**size


def units(generator: Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Numbers from 0 to 1: all over it, next to both ends and to the middle, and these."""
    small = 10.0 ** generator.uniform(np.log10(float(jnp.finfo(dtype).tiny)), -0.3, count)
    near = 10.0 ** generator.uniform(np.log10(float(jnp.finfo(dtype).eps)), -0.5, count)
    middle = 0.5 + 0.5 * near * generator.choice([-1.0, 1.0], count)
    plain, special = generator.uniform(0, 1, count), generator.choice([0.0, 0.5, 1.0], count)
    return np.choose(generator.integers(0, 5, count), [small, 1 - near, middle, plain, special])


def each(*numbers: Numbers) -> Draw:
    """Draws every argument for itself."""

    def draw(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
        return np.stack([of(generator, count, dtype) for of in numbers], axis=1)

    return draw


def related(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Reals of which half are ties, near ties, opposites or sums of one another."""
    columns = [reals(generator, count, dtype)]
    for _ in range(arguments - 1):
        partner = _rounded(columns[generator.integers(len(columns))], dtype)
        fresh = reals(generator, count, dtype)
        close = 1 + 2.0 ** -generator.uniform(0, jnp.finfo(dtype).nmant + 1, count)
        with np.errstate(over="ignore"):
            kinds = [fresh, partner, partner * close, -partner * close, partner + fresh]
        choice = generator.choice(5, count, p=[0.5, 0.05, 0.15, 0.1, 0.2])
        columns.append(np.choose(choice, kinds))
    return np.stack(columns, axis=1)


def descending(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Related numbers, the largest first."""
    return -np.sort(-related(generator, arguments, count, dtype), axis=1)


def and_interval(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """A real number, and the ends of an interval."""
    x = related(generator, arguments, count, dtype)
    return np.concatenate([x[:, :1], np.sort(x[:, 1:], axis=1)], axis=1)


def in_interval(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """A number in an interval, near either end, near its middle or anywhere, and the ends."""
    low, high = np.sort(_rounded(related(generator, 2, count, dtype), dtype), axis=1).T
    share = units(generator, count, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        y = low * (1 - share) + high * share
    return np.stack([np.clip(y, low, high), low, high], axis=1)


def _rounded(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The nearest numbers of a dtype as float64: no infinity, and no subnormal number, which
    XLA's CPU arithmetic takes for 0."""
    info = jnp.finfo(dtype)
    kept = np.where(np.abs(x) < float(info.tiny), 0.0, x)
    kept = np.clip(kept, -float(info.max), float(info.max))
    return kept.astype(dtype).astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """A function of several real arguments.

    Attributes:
      function: of arrays of one shape, elementwise.
      truth: its definition as a function of `jets`.
      draw: makes points of its domain.
      terms: for a multi-index whose derivative may be a difference of two rounded numbers, the
        size of the larger one, as a function of the arguments in mpmath. An ulp of it, in the
        type that is computed in, is what rounding leaves of that difference: an error up to it
        counts as one ulp at most; in 16 bits it is taken off before the last rounding is judged.
      digits: of the truth: float64's 17 and room for what the definition cancels.
    """

    function: Callable[..., Array]
    truth: Callable[..., Any]
    draw: Draw = related
    terms: Mapping[Orders, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    digits: int = 60

    @property
    def arguments(self) -> int:
        return len(inspect.signature(self.truth).parameters)

    def points(self, seed: int, count: int, dtype: str) -> np.ndarray:
        """Draws points, [count, arguments] numbers of a dtype as float64."""
        generator = np.random.default_rng(seed)
        return _rounded(self.draw(generator, self.arguments, count, _TYPES[dtype]), _TYPES[dtype])


def multi_indices(arguments: int, order: int = 2) -> tuple[Orders, ...]:
    """Every multi-index up to an order, the value's first."""
    every = itertools.product(range(order + 1), repeat=arguments)
    return tuple(sorted((o for o in every if sum(o) <= order), key=lambda o: (sum(o), o[::-1])))


def partial(function: Callable[..., Array], orders: Orders, mode: str = "reverse"):
    """A partial derivative of a function of scalars, by `jax.grad` or by `jax.jvp`."""
    for position, order in enumerate(orders):
        for _ in range(order):
            if mode == "reverse":
                function = jax.grad(function, position)
            else:
                function = _pushed(function, position)
    return function


def _pushed(function: Callable[..., Array], position: int) -> Callable[..., Array]:
    def derivative(*arguments: Array) -> Array:
        def along(x: Array) -> Array:  # the others have no tangent: 0 times infinity is NaN
            return function(*arguments[:position], x, *arguments[position + 1 :])

        x = arguments[position]
        return jax.jvp(along, (x,), (jnp.ones_like(x),))[1]

    return derivative


@functools.cache
def _program(function: Callable[..., Array], orders: tuple[Orders, ...], mode: str):
    return jax.jit(jax.vmap(lambda *x: [partial(function, each, mode)(*x) for each in orders]))


def evaluate(
    joint: Joint, dtype: str, points: np.ndarray, orders: Sequence[Orders], mode: str = "reverse"
) -> np.ndarray:
    """Evaluates partial derivatives at all points in one program: [orders, points], float64."""
    with jax.enable_x64(dtype == "float64"):
        columns = [jnp.asarray(column.astype(_TYPES[dtype])) for column in points.T]
        results = _program(joint.function, tuple(orders), mode)(*columns)
        return np.stack([np.asarray(result).astype(np.float64) for result in results])


def truths(joint: Joint, points: np.ndarray) -> list[Any]:
    """The definition's jets; None where it is not defined."""
    found = []
    with mp.workdps(joint.digits):
        for point in points.tolist():
            try:
                jet = joint.truth(*jets.variables(point))
            except (ZeroDivisionError, ValueError, TypeError):  # TypeError: complex is not ordered
                jet = None
            defined = jet is not None and isinstance(jet.value, mp.mpf) and mp.isfinite(jet.value)
            found.append(jet if defined else None)
    return found


class Errors(NamedTuple):
    """Of one partial derivative, at every point; see `Found`."""

    ulp: np.ndarray
    wrong: np.ndarray
    normal: np.ndarray


def _exponent(x: Any) -> int:
    return int(mp.frexp(x)[1])


def errors(
    joint: Joint, dtype: str, points: np.ndarray, jet: Sequence[Any], orders: Orders, found: Any
) -> Errors:
    """Holds results, float64 numbers of a dtype, against the truth."""
    info = jnp.finfo(_TYPES[dtype])
    computed = jnp.finfo(np.promote_types(_TYPES[dtype], np.float32))
    tiny, largest = float(info.tiny), float(info.max)
    columns = np.zeros((3, len(points)))
    term = joint.terms.get(orders)
    with mp.workdps(joint.digits):
        for row, (point, at, result) in enumerate(zip(points.tolist(), jet, found, strict=True)):
            if at is None:
                continue
            truth = at.partial(orders)
            size = abs(truth)
            if size < tiny:
                columns[1, row] = not abs(result) <= 2 * tiny
                continue
            if size > largest:
                columns[1, row] = not abs(result) >= largest
                continue
            columns[2, row] = 1
            if not np.isfinite(result):
                columns[1, row] = 1
                continue
            off = abs(result - truth)
            unit = mp.ldexp(1, _exponent(truth) - 1 - info.nmant)
            allowed = mp.mpf(0)
            if term is not None:
                terms = [mp.mpf(x) for x in point]
                allowed = mp.ldexp(1, _exponent(term(*terms)) - 1 - computed.nmant)
            if info.bits == 16:  # the last rounding comes on top of it
                off = max(off - allowed, 0)
            elif off <= allowed:
                off = min(off, unit)
            columns[0, row] = off / unit
            columns[1, row] = result == 0 and size > allowed
    return Errors(columns[0], columns[1] > 0, columns[2] > 0)


def hunt(
    joint: Joint,
    dtype: str,
    count: int,
    rounds: int = 1,
    seed: int = 0,
    orders: Sequence[Orders] | None = None,
    mode: str = "reverse",
) -> dict[Orders, Found]:
    """Looks for the largest error of each partial derivative.

    Args:
      count: points in each round.
      rounds: how often, after the first, points are drawn next to roots and to the worst so far.
      orders: which derivatives; all up to the second if None.
    """
    wanted = tuple(multi_indices(joint.arguments) if orders is None else orders)
    generator = np.random.default_rng([seed, 1])
    points = joint.points(seed, count, dtype)
    seen, every = [], []
    for turn in range(rounds + 1):
        results = evaluate(joint, dtype, points, wanted, mode)
        jet = truths(joint, points)
        judged = [
            errors(joint, dtype, points, jet, each, result)
            for each, result in zip(wanted, results, strict=True)
        ]
        seen.append(points)
        every.append(np.array(judged))  # [orders, three columns, points]
        if turn < rounds:
            near_roots = _near_roots(joint, dtype, points, results, wanted, mode, generator)
            near_worst = _near_worst(np.concatenate(seen), np.concatenate(every, 2), generator)
            half = generator.permutation(len(near_roots))[: count // 2]
            candidates = np.concatenate([near_roots[half], near_worst])
            points = _rounded(np.resize(candidates, points.shape), _TYPES[dtype])
    columns, inputs = np.concatenate(every, 2), np.concatenate(seen)
    found = {}
    for each, (ulp, wrong, normal) in zip(wanted, columns, strict=True):
        where = int(np.argmax(np.where(wrong > 0, np.inf, ulp)))
        at = tuple(inputs[where].tolist())
        found[each] = Found(float(ulp.max()), at, int(wrong.sum()), int(normal.sum()))
    return found


def _near_roots(
    joint: Joint,
    dtype: str,
    points: np.ndarray,
    results: np.ndarray,
    orders: Sequence[Orders],
    mode: str,
    generator: Generator,
) -> np.ndarray:
    """Bisects between pairs of points at which a derivative's results differ in sign."""
    count = len(points)
    which = np.arange(count) % len(orders)
    first, second = generator.integers(0, count, (2, count))
    rows = np.arange(count)
    signs = np.sign(results[which, first])
    crossing = signs * np.sign(results[which, second]) < 0
    start, end = points[first], points[second]
    for _ in range(jnp.finfo(_TYPES[dtype]).nmant + 4):
        middle = _rounded(start / 2 + end / 2, _TYPES[dtype])
        same = np.sign(evaluate(joint, dtype, middle, orders, mode)[which, rows]) == signs
        start = np.where(same[:, None], middle, start)
        end = np.where(same[:, None], end, middle)
    return np.concatenate([start[crossing], end[crossing]])


def _near_worst(points: np.ndarray, judged: np.ndarray, generator: Generator) -> np.ndarray:
    """Steps of every size from the points with the largest errors of each derivative."""
    worst = np.unique(np.argsort(judged[:, 0], axis=1)[:, -8:])
    chosen = points[generator.choice(worst, len(points))]
    sign = generator.choice([-1, 0, 1], chosen.shape)
    with np.errstate(over="ignore"):
        return chosen * (1 + sign * 10.0 ** generator.uniform(-8, -1, chosen.shape))
