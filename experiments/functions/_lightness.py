"""What a function costs besides its arithmetic: called outside `jit`, traced, compiled."""

import functools
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from jax import Array

import sigjax
from experiments.harness.stopwatch import Call, contestants, preparation, race
from experiments.oracle import subjects

Function = Callable[..., Array]

LIBRARIES = ("sigjax", "jax")
ELEMENTS = 16
LAYERS, BLOCKS = 64, 16
MODEL = f"{BLOCKS} SwiGLU blocks"
ACTIVATIONS = ("sigmoid", "silu", "softplus")
_CALLS = 200  # that one timing spans: a call takes 5 us
_DERIVATIVES = 10  # a derivative outside jit takes 500 us

# Functions of one argument, and the two of two arguments that have a peer: (ours, the peer's).
_OF_ONE = tuple(name for name in subjects.JAX_PEERS if name in subjects.FUNCTIONS)
_OF_TWO: Mapping[str, tuple[Function, Function]] = {
    "logaddexp": (sigjax.logaddexp, jnp.logaddexp),
    "cross_entropy": (
        sigjax.losses.sigmoid_binary_cross_entropy,
        optax.losses.sigmoid_binary_cross_entropy,
    ),
}
FUNCTIONS = (*_OF_ONE, *_OF_TWO)


def _pair(name: str) -> tuple[Function, Function]:
    return _OF_TWO.get(name) or (subjects.FUNCTIONS[name], subjects.JAX_PEERS[name])


def outside_jit(name: str, rounds: int, seed: int) -> xr.Dataset:
    """Seconds of a call and of a derivative, of sixteen numbers, nothing around them compiled."""
    x = jnp.linspace(0.1, 0.9, ELEMENTS)
    arguments = (x, x[::-1]) if name in _OF_TWO else (x,)
    pair = dict(zip(LIBRARIES, _pair(name), strict=True))
    calls = {library: functools.partial(f, *arguments) for library, f in pair.items()}
    slopes = {
        library: functools.partial(jax.grad(_sum_of(f)), *arguments) for library, f in pair.items()
    }
    return xr.Dataset(
        {
            "call_seconds": ("library", _medians(calls, rounds, _CALLS, seed)),
            "grad_seconds": ("library", _medians(slopes, rounds, _DERIVATIVES, seed)),
        },
        coords={"library": list(LIBRARIES)},
    )


def _sum_of(function: Function) -> Function:
    return lambda *arguments: jnp.sum(function(*arguments))


def _medians(running: Mapping[str, Any], rounds: int, calls: int, seed: int) -> list[float]:
    seconds = race(running, rounds, calls, seed, paces=("pipelined",))["pipelined"]
    return [statistics.median(seconds[library]) for library in running]


def unrolled(name: str, rounds: int, seed: int) -> xr.Dataset:
    """Seconds to trace and lower, and to compile, 64 layers act(x @ w) with their gradient."""
    weights = [jnp.full((32, 32), 0.1)] * LAYERS
    x = jnp.ones((8, 32))

    def program(act: Function) -> Call:
        def loss(weights: list[Array]) -> Array:
            hidden = x
            for weight in weights:
                hidden = act(hidden @ weight)
            return jnp.sum(hidden)

        return Call.of(jax.grad(loss), weights)

    return _prepared({lib: functools.partial(program, f) for lib, f in _both(name)}, rounds, seed)


def _both(name: str) -> zip:
    return zip(LIBRARIES, _pair(name), strict=True)


def _prepared(programs: Mapping[str, Callable[[], Call]], rounds: int, seed: int) -> xr.Dataset:
    taken = preparation(programs, rounds, seed)
    return xr.Dataset(
        {
            "trace_seconds": ("library", list(taken.trace.values())),
            "compile_seconds": ("library", list(taken.compile.values())),
        },
        coords={"library": list(programs)},
    )


class _SwiGLU(nnx.Module):
    r"""$W_3 (\mathrm{silu}(W_1 x) \odot W_2 x)$, added to $x$ (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, features: int, hidden: int, act: Function, rngs: nnx.Rngs):
        self.gate = nnx.Linear(features, hidden, rngs=rngs)
        self.up = nnx.Linear(features, hidden, rngs=rngs)
        self.down = nnx.Linear(hidden, features, rngs=rngs)
        self.act = act

    def __call__(self, x: Array) -> Array:
        return x + self.down(self.act(self.gate(x)) * self.up(x))


def model(rounds: int, seed: int) -> xr.Dataset:
    """Seconds to trace, compile and run a step (loss and gradients) of 16 SwiGLU blocks."""
    x = jax.random.normal(jax.random.key(seed), (256, 128))

    def program(act: Function) -> Call:
        rngs = nnx.Rngs(0)
        blocks = nnx.List([_SwiGLU(128, 256, act, rngs) for _ in range(BLOCKS)])
        graph, parameters = nnx.split(blocks)

        def loss(parameters: Any, x: Array) -> Array:
            hidden = x
            for block in nnx.merge(graph, parameters):
                hidden = block(hidden)
            return jnp.mean(jnp.square(hidden))

        return Call.of(jax.value_and_grad(loss), parameters, x)

    programs = {lib: functools.partial(program, f) for lib, f in _both("silu")}
    prepared = _prepared(programs, rounds, seed)
    steps = contestants({library: make() for library, make in programs.items()})
    seconds = race(steps, 5 * rounds, 2, seed, paces=("blocking",))["blocking"]
    medians = [float(np.median(seconds[library])) for library in prepared["library"].values]
    return prepared.assign(step_seconds=("library", medians))
