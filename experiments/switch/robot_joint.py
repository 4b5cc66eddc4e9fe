r"""A joint held by a sigmoid: the slope at 0 is the gain of the controller, while angles are small.

Figure: the torque and its line; swings at damping ratios .1, 1 and 2 beside the linear ones; the
frequency over the amplitude, from the linear one to that of a relay; energy falling. Article:
"the slope of the function at that point acts as the effective proportional gain". No paper is
known for it; all formulas are in `sigjax.dynamics.SigmoidJoint`.

    python -m experiments run robot_joint

Time on 2 CPU cores: quick 8 s, paper 8 s. Must show: natural frequency sqrt(K g / 4 J), damping
ratio and overshoot of the linear formulas within 1 % for |g theta| <= 0.5; an undamped swing of
1 rad at 0.970645 of the linear frequency; energy that never rises.
"""

import dataclasses
from typing import Annotated, Any

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optimistix
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within
from experiments.harness.style import MEANING, THEORY
from sigjax.dynamics import SigmoidJoint

# A light forearm; the linear joint swings at 2 rad/s.
INERTIA, STRENGTH, GAIN = 1.0, 16.0, 1.0
RATIOS = (0.1, 0.3, 1.0, 2.0)
DRAWN = (0.1, 1.0, 2.0)  # ratios whose swings are shown over time
STARTS = (0.5, 2.0, 8.0)  # rad
AMPLITUDES = (1.0, 2.0)  # rad, of the undamped swings whose frequencies are claimed


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Length of the swings and how many are timed."""

    duration: Annotated[float, Within(0, 1e4, above=True)] = 16.0
    """Seconds of each damped swing."""
    samples: Annotated[int, Within(2)] = 1601
    """Instants at which a swing is kept."""
    amplitudes: int = 25
    """Undamped swings, from 0.05 to 50 rad, whose period is timed."""

    @classmethod
    def quick(cls) -> "Config":
        """25 amplitudes."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """200 amplitudes."""
        return cls(amplitudes=200)


def _joint(ratio: Any) -> SigmoidJoint:
    """The joint whose linear damping ratio this is."""
    critical = SigmoidJoint(INERTIA, 0.0, STRENGTH, GAIN).critical_damping()
    return SigmoidJoint(INERTIA, ratio * critical, STRENGTH, GAIN)


def _swing(joint: SigmoidJoint, start: Array, times: Array) -> Array:
    """Angle and velocity `[times, 2]` of a joint let go at an angle."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(joint.vector_field),
        diffrax.Dopri8(),
        t0=0.0,
        t1=times[-1],
        dt0=0.01,
        y0=jnp.stack([start, jnp.zeros_like(start)]),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
        max_steps=100_000,
    )
    return solution.ys


def _timed_period(amplitude: Array) -> Array:
    """Period of an undamped swing: four times the time from rest to the first passage of 0."""
    joint = SigmoidJoint(INERTIA, 0.0, STRENGTH, GAIN)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(joint.vector_field),
        diffrax.Dopri8(),
        t0=0.0,
        t1=1e3,
        dt0=0.01,
        y0=jnp.stack([amplitude, jnp.zeros_like(amplitude)]),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-13),
        event=diffrax.Event(
            lambda t, y, args, **_: y[0], root_finder=optimistix.Newton(rtol=1e-11, atol=1e-13)
        ),
        max_steps=100_000,
    )
    return 4 * solution.ts[0]


def measure(config: Config, key: Array) -> xr.Dataset:
    """Lets joints go, in float64, and times swings without damping."""
    del key  # nothing is drawn
    with jax.enable_x64(True):
        times = jnp.linspace(0.0, config.duration, config.samples)

        def swing(ratio: Array, start: Array) -> tuple[Array, Array]:
            path = _swing(_joint(ratio), start, times)
            return path[:, 0], _joint(ratio).energy(path)

        over_starts = jax.vmap(swing, in_axes=(None, 0))
        ratios, starts = jnp.array(RATIOS), jnp.array(STARTS)
        angles, energies = jax.jit(jax.vmap(over_starts, in_axes=(0, None)))(ratios, starts)
        linear = SigmoidJoint(INERTIA, 0.0, STRENGTH, GAIN)
        amplitudes = jnp.concatenate(
            [jnp.array((*AMPLITUDES, 20.0)), jnp.geomspace(0.05, 50.0, config.amplitudes)]
        )
        timed = jax.jit(jax.vmap(_timed_period))(amplitudes)
        formula = linear.period(amplitudes)
        natural = float(linear.natural_frequency())
        overshoots = [float(_joint(ratio).overshoot()) for ratio in RATIOS]
    return xr.Dataset(
        {
            "angle": (("ratio", "start", "time"), np.asarray(angles)),
            "energy": (("ratio", "start", "time"), np.asarray(energies)),
            "timed": ("amplitude", np.asarray(timed)),
            "formula": ("amplitude", np.asarray(formula)),
            "overshoot": ("ratio", overshoots),
            "natural_frequency": natural,
        },
        coords={
            "ratio": list(RATIOS),
            "start": list(STARTS),
            "time": np.asarray(times),
            "amplitude": np.asarray(amplitudes),
        },
    )


def linear_swing(phase: np.ndarray, ratio: float) -> np.ndarray:
    """Angle over the first angle of a linear joint let go at rest, by natural frequency x time."""
    if ratio == 1:
        return np.exp(-phase) * (1 + phase)
    root = np.emath.sqrt(1 - ratio**2)  # imaginary beyond critical damping
    swing = np.cos(root * phase) + ratio / root * np.sin(root * phase)
    return np.real(np.exp(-ratio * phase) * swing)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The linear controller, where it ends, where the joint goes over time, and energy."""
    return [*_of_undamped_swings(dataset), *_of_damped_swings(dataset), *_of_rest(dataset)]


def _of_undamped_swings(dataset: xr.Dataset) -> list[Claim]:
    """How the period depends on the swing: a spring's, then that of a relay."""
    natural = float(dataset["natural_frequency"])
    relative = 2 * np.pi / dataset["timed"] / natural
    relay = 8 * np.sqrt(20.0 * INERTIA / STRENGTH)
    return [
        Claim(
            name="natural frequency, rad/s, timed at the smallest swing",
            source="sqrt(K g / (4 J)) = 2: the slope 1/4 is the gain of the controller",
            expected=2.0,
            measured=float(2 * np.pi / dataset["timed"].isel(amplitude=3)),
            tolerance=2 * 0.05**2 / 32,  # 1 - A^2 / 32 at a swing of 0.05 rad, twice
            relative=True,
            kind="exact",
        ),
        Claim(
            name="frequency of the smallest swing, 0.05 rad, over the natural one",
            source="1 - A^2 / 32",
            expected=1 - 0.05**2 / 32,
            measured=float(relative.isel(amplitude=3)),
            tolerance=1e-6,
            kind="exact",
        ),
        *(
            Claim(
                name=f"frequency of a swing of {AMPLITUDES[index]:g} rad over the natural one",
                source="quadrature of the quarter period, derived",
                expected=expected,
                measured=float(relative.isel(amplitude=index)),
                tolerance=1e-6,
                kind="exact",
            )
            for index, expected in enumerate((0.970645, 0.900216))
        ),
        Claim(
            name="period of a swing of 20 rad over that of a relay, 8 sqrt(A J / K)",
            source="the saturated sigmoid switches between two torques",
            expected=1.0012,
            measured=float(dataset["timed"].isel(amplitude=2)) / relay,
            tolerance=1e-4,
            kind="exact",
        ),
        Claim(
            name="timed periods against the quadrature: largest relative difference",
            source="two independent computations",
            expected=0.0,
            measured=float(np.abs(dataset["timed"] / dataset["formula"] - 1).max()),
            tolerance=1e-8,
            kind="exact",
        ),
    ]


def _of_damped_swings(dataset: xr.Dataset) -> list[Claim]:
    """From a small angle the joint follows the linear formulas."""
    small = dataset.sel(start=STARTS[0], ratio=0.3)
    return [
        Claim(
            name="damping ratio 0.3 from 0.5 rad: overshoot over exp(-pi zeta / sqrt(1 - zeta^2))",
            source="linear formulas hold within 1 % for |g theta| <= 0.5",
            expected=1.0,
            measured=float(-small["angle"].min() / STARTS[0] / small["overshoot"]),
            tolerance=0.01,
            kind="exact",
        ),
        *(
            Claim(
                name=f"damping ratio {ratio:g} from 0.5 rad: largest distance from a linear one",
                source="over the first angle; linear formulas, which |g theta| <= 0.5 follows",
                expected=0.0,
                measured=float(
                    np.abs(
                        dataset["angle"].sel(ratio=ratio, start=STARTS[0]) / STARTS[0]
                        - linear_swing(2.0 * dataset["time"].values, ratio)
                    ).max()
                ),
                tolerance=0.02,
                kind="exact",
            )
            for ratio in DRAWN
        ),
        Claim(
            name="critical damping from 0.5 rad: smallest angle over the first",
            source="no overshoot at a damping ratio of 1",
            expected=0.0,
            measured=float(dataset["angle"].sel(ratio=1.0, start=STARTS[0]).min() / STARTS[0]),
            tolerance=1e-6,
            kind="exact",
            relation=">=",
        ),
    ]


def _of_rest(dataset: xr.Dataset) -> list[Claim]:
    """Friction takes energy until the joint stands still, from every angle."""
    rises = dataset["energy"].diff("time") / dataset["energy"].isel(time=0)
    return [
        Claim(
            name="largest rise of the energy between samples, over the first energy",
            source="dE/dt = -b theta'^2",
            expected=0.0,
            measured=float(rises.max()),
            tolerance=1e-10,
            kind="exact",
            relation="<=",
        ),
        Claim(
            name="largest angle left at the end, damping ratio 1, over the first",
            source="globally stable for b > 0",
            expected=0.0,
            measured=float(
                np.abs(dataset["angle"].sel(ratio=1.0).isel(time=-1) / dataset["start"]).max()
            ),
            tolerance=1e-3,
            kind="exact",
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """The controller, its swings, its pendulum-like slowing, and its energy."""
    figure, ((torque, swing), (frequency, energy)) = plt.subplots(2, 2, figsize=(11, 7.5))
    angle = np.linspace(-8, 8, 400)
    curve = STRENGTH * np.tanh(GAIN * angle / 2) / 2
    torque.plot(angle, curve, color=MEANING["sigmoid"], label="K (σ(gθ) − ½)")
    inner = angle[np.abs(angle) < 2.6]
    torque.plot(inner, STRENGTH * GAIN / 4 * inner, "--", label="K g θ / 4: proportional control")
    torque.axvspan(-0.5, 0.5, color="0.85", label="linear within 1 %")
    torque.set_xlabel("angle θ (rad)")
    torque.set_ylabel("torque towards 0 (N m)")
    torque.set_title("the controller")
    torque.legend()
    natural = float(dataset["natural_frequency"])
    time = dataset["time"].values
    for index, ratio in enumerate(DRAWN):
        for start, line in zip(STARTS[::2], ("-", ":"), strict=True):
            path = dataset["angle"].sel(ratio=ratio, start=start)
            label = f"damping ratio {ratio:g}" if line == "-" else None
            swing.plot(time, path / start, line, color=f"C{index}", label=label)
        label = "linear prediction" if index == 0 else None
        swing.plot(time, linear_swing(natural * time, ratio), label=label, **THEORY)
    swing.set_xlim(0, min(10.0, time[-1]))  # s: later all but the least damped lie at 0
    swing.set_xlabel("time (s)")
    swing.set_ylabel("angle over the first angle, θ(t) / θ(0) (1)")
    swing.set_title(f"let go at {STARTS[0]:g} rad (dots: {STARTS[2]:g} rad, slower)")
    swing.legend()
    swings = dataset.sortby("amplitude")
    amplitude = swings["amplitude"].values
    frequency.semilogx(
        amplitude, 2 * np.pi / swings["formula"] / natural, label="quarter-period integral"
    )
    frequency.semilogx(
        amplitude, 2 * np.pi / swings["timed"] / natural, "o", markersize=4, label="timed"
    )
    large = amplitude[amplitude > 2.5]
    relay = 2 * np.pi / (8 * np.sqrt(large * INERTIA / STRENGTH)) / natural
    frequency.plot(large, relay, "--", color="0.3", label="relay, 2π / 8√(AJ/K)")
    little = amplitude[amplitude < 2.5]
    frequency.plot(little, 1 - little**2 / 32, ":", color="black", label="1 − A²/32")
    frequency.set_xlabel("amplitude A (rad)")
    frequency.set_ylabel("frequency over √(Kg/4J) (1)")
    frequency.set_title("without damping")
    frequency.legend()
    for ratio in RATIOS:
        path = dataset["energy"].sel(ratio=ratio, start=STARTS[-1])
        # below a millionth the integrator's tolerance is seen, not the joint
        energy.semilogy(
            path["time"], path.where(path > 1e-6 * float(path[0])), label=f"damping ratio {ratio:g}"
        )
    energy.set_xlabel("time (s)")
    energy.set_ylabel("energy (J)")
    energy.set_title(f"let go at {STARTS[-1]:g} rad: energy only falls")
    energy.legend()
    return figure
