r"""Two sigmoids that inhibit each other make a switch, if weight times gain is above 4.

Figure: nullclines that cross once or three times, with flows; the pitchfork and its exponent 1/2;
the drives between which there is a choice; hysteresis under a drive that goes up and comes down
slowly, over the branch with its two folds. All numbers are derived in `sigjax.dynamics.FlipFlop`;
the picture is that of Saper, Chou & Scammell 2001, Trends in Neurosciences 24:726-731.

    python -m experiments run flip_flop

Time on 2 CPU cores: quick 15 s, paper 15 s. Must show: bistable only for w g > 4; windows, folds
and the magnetisation m = tanh(w m / 4) to 1e-6; the state jumps where the branch folds, not before.
"""

import dataclasses
import functools
from typing import Annotated, Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from experiments.harness import Claim, Settings, Within
from sigjax.dynamics import FlipFlop, continuation

from ._flip_flop_panels import plot as plot

WEAK, STRONG = 3.0, 6.0
# Solutions of m = tanh(w m / 4), by mpmath
MAGNETISATION = {5.0: 0.7104118, 6.0: 0.8585596, 8.0: 0.9575040}
# w s + logit(s) with s = (1 - sqrt(1 - 4 / w)) / 2, and |2 artanh m - w m / 2|, m = sqrt(1 - 4 / w)
WINDOWS = {6.0: -0.0490087, 8.0: -0.5911743}
FOLDS = {6.0: 0.4150929, 8.0: 1.0656799}
RAMP = 0.8  # largest opposed drive of the ramp, about twice the fold's
_RAMP_STEPS = 2000  # of the drive in either direction, at which the state is kept
_AIRY = 2.3381074  # Ai(-z) is 0 there first; by mpmath
_DERIVED = "derived: see sigjax.dynamics.FlipFlop"


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """How slowly the drive is moved, and how finely parameters are swept."""

    ramp_time: Annotated[float, Within(1, 1e6)] = 4000.0
    """Time constants in which the opposed drive goes up, and as many in which it comes down."""
    weights: Annotated[int, Within(2)] = 300
    """Weights of the pitchfork and of the window."""
    sets: int = 10_000
    """Random parameter sets whose equilibria and folds are held to their equations."""

    @classmethod
    def quick(cls) -> "Config":
        """A ramp of 4,000 time constants."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """A ramp of 100,000 time constants."""
        return cls(ramp_time=100_000.0, weights=2000)


def _flow(switch: FlipFlop, start: Array, times: Array) -> Array:
    """States `[times, 2]` from a start."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(switch.vector_field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=0.01,
        y0=start,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    ).ys


def _ramp(config: Config) -> xr.Dataset:
    """The state while the opposed drive goes slowly up and down again."""
    length = config.ramp_time
    times = jnp.linspace(0.0, 2 * length, 2 * _RAMP_STEPS + 1)

    def difference(t: Array) -> Array:
        return RAMP * (1 - 2 * jnp.abs(1 - t / length))

    def field(t: Any, state: Array, switch: FlipFlop) -> Array:
        d = difference(t)
        return switch.vector_field(t, state, jnp.stack([d, -d]))

    switch = FlipFlop(STRONG, STRONG / 2)
    states = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=2 * length,
        dt0=0.1,
        y0=FlipFlop(STRONG, STRONG / 2, -RAMP).equilibria().states[0],
        args=switch,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9),
        max_steps=1_000_000,
    ).ys
    dims = ("direction", "step")
    drive = np.asarray(jax.vmap(difference)(times))
    halves = [slice(0, _RAMP_STEPS + 1), slice(_RAMP_STEPS, 2 * _RAMP_STEPS + 1)]
    return xr.Dataset(
        {
            "ramp_drive": (dims, np.stack([drive[half] for half in halves])),
            "ramp_state": (dims, np.stack([np.asarray(states[half, 0]) for half in halves])),
        },
        coords={"direction": ["up", "down"]},
        attrs={"ramp_time": length},
    )


def _branch() -> xr.Dataset:
    """The S-shaped curve of all equilibria over the opposed drive, by continuation."""

    def residual(state: Array, d: Array) -> Array:
        return FlipFlop(STRONG, STRONG / 2, d).vector_field(0.0, state)

    start = FlipFlop(STRONG, STRONG / 2, -RAMP).equilibria().states[0]
    branch = continuation(residual, start, -RAMP, bounds=(-RAMP, RAMP), step=0.01, max_points=1000)
    count = int(branch.count)
    drives, _ = branch.folds()
    folds = np.sort(np.asarray(drives)[~np.isnan(np.asarray(drives))])
    return xr.Dataset(
        {
            "branch_drive": ("point", np.asarray(branch.parameters[:count])),
            "branch_state": ("point", np.asarray(branch.states[:count, 0])),
            # up and down again: the unstable part
            "branch_back": ("point", np.asarray(branch.tangents[:count, -1] < 0)),
            "branch_fold": ("fold", folds),
        },
        attrs={"stopped": branch.stopped},
    )


def _sweep(config: Config) -> xr.Dataset:
    """Equilibria over the weight at the symmetric drive, and the window of drives."""
    weights = jnp.linspace(2.0, 9.0, config.weights)
    above = jnp.geomspace(1e-5, 1e-2, 40)
    equilibria, window = jax.jit(FlipFlop.equilibria), jax.jit(FlipFlop.window)
    both = jnp.concatenate([weights, 4 + above])
    states, _, stable = equilibria(FlipFlop(both, both / 2))
    states, near = states[: len(weights)], states[len(weights) :]
    low, high = window(FlipFlop(weights, weights / 2))
    return xr.Dataset(
        {
            "state": (("weight", "equilibrium"), np.asarray(states[..., 0])),
            "stable": (("weight", "equilibrium"), np.asarray(stable[: len(weights)])),
            "window": (("weight", "end"), np.stack([low, high], axis=-1)),
            "onset": ("excess", np.asarray(1 - 2 * near[:, 0, 0])),
        },
        coords={"weight": np.asarray(weights), "excess": np.asarray(above)},
    )


@functools.partial(jax.jit, static_argnums=0)
def _random_sets(sets: int, key: Array) -> dict[str, Array]:
    """The worst of many parameter sets: residuals of equilibria, and of folds."""
    for_weight, for_drive, for_gain = jax.random.split(key, 3)
    shape = (sets,)
    product = 4 + 8 * jax.random.uniform(for_weight, shape, minval=0.01)
    gain = 10 ** jax.random.uniform(for_gain, shape, minval=-1.0, maxval=1.0)
    weight = product / gain
    low, high = FlipFlop(weight, 0.0, gain=gain).window()
    share = jax.random.uniform(for_drive, shape, minval=0.05, maxval=0.95)
    switch = FlipFlop(weight, low + share * (high - low), gain=gain)
    fold = switch.folds()[1]
    # On a fold, two equilibria meet: within it there are three, beyond it one.
    inside, outside = (
        jnp.sum(FlipFlop(weight, switch.drive, fold * factor, gain).equilibria().exists, axis=-1)
        for factor in (1 - 1e-6, 1 + 1e-6)
    )
    middle = FlipFlop(weight, weight / 2, gain=gain).folds()[1]
    m = jnp.sqrt(1 - 4 / product)
    formula = jnp.abs(2 * jnp.arctanh(m) - product * m / 2) / gain
    residual = switch.vector_field(0.0, jnp.swapaxes(switch.equilibria().states, 0, 1))
    return {
        "counted": jnp.mean((inside == 3) & (outside == 1)),
        "fold_error": jnp.max(jnp.abs(middle / formula - 1)),
        "residual": jnp.max(jnp.abs(residual)),
    }


def measure(config: Config, key: Array) -> xr.Dataset:
    """Everything in float64."""
    with jax.enable_x64(True):
        times = jnp.linspace(0.0, 20.0, 201)
        edge = jnp.linspace(0.0, 1.0, 5)
        starts = jnp.array([(a, b) for a in edge for b in edge if a in (0, 1) or b in (0, 1)])
        activity = jnp.linspace(1e-3, 1 - 1e-3, 401)
        flow = jax.jit(jax.vmap(_flow, in_axes=(None, 0, None)))
        flows, lines = [], []
        for weight in (WEAK, STRONG):
            switch = FlipFlop(weight, weight / 2)
            flows.append(np.asarray(flow(switch, starts, times)))
            lines.append(np.stack(switch.nullclines(activity)))
        portraits = xr.Dataset(
            {
                "flow": (("portrait", "start", "time", "population"), np.stack(flows)),
                "nullcline": (("portrait", "of", "activity"), np.stack(lines)),
            },
            coords={"portrait": [WEAK, STRONG], "activity": np.asarray(activity)},
        )
        named = {}
        for weight in (5.0, 6.0, 8.0):
            switch = FlipFlop(weight, weight / 2)
            named[f"magnetisation_{weight:g}"] = 1 - 2 * float(switch.equilibria().states[0, 0])
            named[f"window_{weight:g}"] = float(switch.window()[0])
            named[f"fold_{weight:g}"] = float(switch.folds()[1])
        parts = [portraits, _sweep(config), _branch(), _ramp(config)]
        random = {name: float(x) for name, x in _random_sets(config.sets, key).items()}
    return xr.merge([*parts, xr.Dataset(named | random)], combine_attrs="no_conflicts")


def _jump(dataset: xr.Dataset, direction: str) -> float:
    """The opposed drive at which the ramped state crosses 1/2."""
    part = dataset.sel(direction=direction)
    beyond = (part["ramp_state"] > 0.5) == (direction == "up")
    return float(part["ramp_drive"][int(beyond.values.argmax())])


def _delay(ramp_time: float) -> float:
    r"""How far beyond the fold a slow ramp has come when the state leaves.

    Along the direction (1, -1) in which the fold's equilibria meet, z' = a d + b z^2 with d = r t,
    a = sigma' = 1 / w and b = w sqrt(1 - 4/w) / 2. With z = -u' / (b u) that is Airy's equation,
    whose first zero is the jump: d = 2.338 (r^2 / (a b))^(1/3).
    """
    rate = 2 * RAMP / ramp_time
    return float(_AIRY * (rate**2 / (0.5 * (1 - 4 / STRONG) ** 0.5)) ** (1 / 3))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Closed forms, and what a ramp shows of them."""
    return [
        *_of_three_weights(dataset),
        *_of_the_pitchfork(dataset),
        *_of_random_switches(dataset),
        *_of_the_ramp(dataset),
    ]


def _of_three_weights(dataset: xr.Dataset) -> list[Claim]:
    """Equilibria, window and folds."""
    found = []
    for prefix, words, table in (
        ("magnetisation", "2x - 1 at I = w/2, from m = tanh(w m / 4)", MAGNETISATION),
        ("window", "lowest drive with two stable states", WINDOWS),
        ("fold", "opposed drive of the fold at I = w/2", FOLDS),
    ):
        for weight, expected in table.items():
            found.append(
                Claim(
                    name=f"weight {weight:g}: {words}",
                    source=_DERIVED,
                    expected=expected,
                    measured=float(dataset[f"{prefix}_{weight:g}"]),
                    tolerance=1e-6,
                    kind="exact",
                )
            )
    return found


def _of_the_pitchfork(dataset: xr.Dataset) -> list[Claim]:
    """Where one equilibrium becomes three, and how they part."""
    bistable = dataset["stable"].sum("equilibrium") == 2
    exponent = np.polyfit(np.log(dataset["excess"]), np.log(dataset["onset"]), 1)[0]
    step = float(np.diff(dataset["weight"])[0])
    return [
        Claim(
            name="smallest weight with two stable states at gain 1",
            source="w g > 4, since the slope of a sigmoid is at most 1/4",
            expected=4.0,
            measured=float(dataset["weight"][int(bistable.values.argmax())]),
            tolerance=1.01 * step,
            kind="exact",
        ),
        Claim(
            name="exponent of the pitchfork: slope of log m over log(w - 4)",
            source="supercritical: the Schwarzian derivative of the logistic is negative",
            expected=0.5,
            measured=float(exponent),
            tolerance=1e-3,
            kind="exact",
        ),
    ]


def _of_random_switches(dataset: xr.Dataset) -> list[Claim]:
    """The closed form of the folds, for parameters drawn at random and by continuation."""
    return [
        Claim(
            name="random parameter sets: share with 3 equilibria inside the fold, 1 beyond",
            source="at a fold two equilibria meet",
            expected=1.0,
            measured=float(dataset["counted"]),
            kind="exact",
        ),
        Claim(
            name="random parameter sets: largest relative error of the fold at I = w/2",
            source=_DERIVED,
            expected=0.0,
            measured=float(dataset["fold_error"]),
            tolerance=1e-6,
            kind="exact",
        ),
        Claim(
            name="random parameter sets: largest rate of change at an equilibrium",
            source="nothing moves there",
            expected=0.0,
            measured=float(dataset["residual"]),
            tolerance=1e-12,
            kind="exact",
        ),
        Claim(
            name="continuation: distance of its two folds from the closed form",
            source=_DERIVED,
            expected=0.0,
            measured=float(np.abs(np.abs(dataset["branch_fold"]) - FOLDS[STRONG]).max()),
            tolerance=1e-6,
            kind="exact",
        ),
    ]


def _of_the_ramp(dataset: xr.Dataset) -> list[Claim]:
    """A drive that grows slowly: the state jumps beyond the fold."""
    found = []
    delay = _delay(dataset.attrs["ramp_time"])
    for direction, sign in (("up", 1.0), ("down", -1.0)):
        found.append(
            Claim(
                name=f"slow ramp {direction}: how far beyond the fold the state jumps",
                source="derived: Airy's equation, the ramp's speed to the power 2/3",
                expected=delay,
                measured=sign * _jump(dataset, direction) - FOLDS[STRONG],
                # a step of the drive, and what is neglected for a ramp that is not slow enough
                tolerance=2 * RAMP / _RAMP_STEPS + 0.05 * delay,
                kind="exact",
            )
        )
    return found
