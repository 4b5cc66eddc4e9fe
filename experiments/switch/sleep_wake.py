r"""A week of sleep from two sigmoids, a clock and a debt.

Figure: a raster of seven days; the drives to the sleep-promoting population over three of them;
the potentials; the daily loop around the folds of the fast pair. Phillips & Robinson 2008, J.
Theor. Biol. 255:413-423, and 2007, J. Biol. Rhythms 22:167-179; constants and published limits
as in public implementations of both.

    python -m experiments run sleep_wake

Time on 2 CPU cores: quick 15 s, paper 18 s. Must show: 15.44 h awake and 8.56 h asleep in one
episode a day; bistable between drives of 1.4503 and 2.4635 mV; the state leaves a branch where
it folds, so the drive of falling asleep is above that of waking up.
"""

import dataclasses
import functools
from typing import Annotated

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
from experiments.harness.style import COLOURS
from sigjax.dynamics import SleepWake, continuation

DAYS = 7
MODELS = {
    "2008": SleepWake(),
    # Its clock is (1 + cos)/2: half of nu_vc = -6.3 mV, with a mean of 1.
    "2007": SleepWake(
        nu_vm=-1.9, nu_mv=-1.9, nu_vc=-3.15, nu_vh=0.19, a=1.0, mu=3.6, chi=10.8, c0=1.0
    ),
}
FIRST_STATE = (0.0, -10.0, 14.0)  # near waking: mV, mV, nM
SPAN = (0.5, 3.5)  # drives of the branch, in mV


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """How long the model runs before the week, and how finely the week is seen."""

    settling: Annotated[int, Within(1, 3650)] = 20
    """Days that are simulated before the week that is shown, so that the start is forgotten."""
    minutes: Annotated[float, Within(0.01, 60)] = 1.0
    """Minutes between two samples."""

    @classmethod
    def quick(cls) -> "Config":
        """20 days of settling: the somnogen forgets in 45 hours."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """A year of settling, 6 s between samples."""
        return cls(settling=365, minutes=0.1)


@functools.partial(jax.jit, static_argnums=1)
def _week(model: SleepWake, config: Config) -> Array:
    """V_v, V_m and H `[times, 3]` over a week, once the first state is forgotten."""
    start = 24.0 * config.settling
    samples = round(DAYS * 24 * 60 / config.minutes) + 1
    times = start + jnp.linspace(0.0, DAYS * 24.0, samples)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(model.vector_field),
        # Implicit: the populations' time constant is 10 s, the somnogen's 45 h. Newton's method, as
        # the solver's own keeps the Jacobian of a step's start, and half of its steps fail.
        diffrax.Kvaerno5(root_finder=diffrax.with_stepsize_controller_tols(optimistix.Newton)()),
        t0=0.0,
        t1=times[-1],
        dt0=1e-3,
        y0=jnp.array(FIRST_STATE),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-7),
        max_steps=1_000_000,
    )
    return solution.ys


def _branch(model: SleepWake) -> xr.Dataset:
    """All equilibria of the fast pair over the drive, by continuation from waking."""

    def residual(potentials: Array, drive: Array) -> Array:
        sleep, wake = potentials
        return jnp.stack(
            [
                model.nu_vm * model.firing_rate(wake) + drive - sleep,
                model.a + model.nu_mv * model.firing_rate(sleep) - wake,
            ]
        )

    start = model.equilibria(SPAN[0]).states[0]
    branch = continuation(residual, start, SPAN[0], bounds=SPAN, step=0.02, max_points=2000)
    count = int(branch.count)
    drives = np.asarray(branch.folds()[0])
    return xr.Dataset(
        {
            "branch_drive": ("point", np.asarray(branch.parameters[:count])),
            "branch_wake": ("point", np.asarray(branch.states[:count, 1])),
            "branch_back": ("point", np.asarray(branch.tangents[:count, -1] < 0)),
            "branch_fold": ("fold", np.sort(drives[~np.isnan(drives)])),
        }
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """A week of each model, in float64."""
    del key  # nothing is drawn
    weeks, drives, awake = [], [], []
    with jax.enable_x64(True):
        for model in MODELS.values():
            week = np.asarray(_week(model, config))
            hours = np.linspace(0, DAYS * 24, len(week))
            weeks.append(week)
            drives.append(np.asarray(model.drive(jnp.asarray(hours), jnp.asarray(week[:, 2]))))
            awake.append(np.asarray(model.awake(jnp.asarray(week))))
        low, high = (float(fold) for fold in MODELS["2008"].folds())
        branch = _branch(MODELS["2008"])
    return xr.merge(
        [
            branch,
            xr.Dataset(
                {
                    "state": (("model", "hour", "variable"), np.stack(weeks)),
                    "drive": (("model", "hour"), np.stack(drives)),
                    "awake": (("model", "hour"), np.stack(awake)),
                    "low_fold": low,
                    "high_fold": high,
                },
                coords={"model": list(MODELS), "hour": hours, "variable": ["V_v", "V_m", "H"]},
            ),
        ]
    )


def _changes(dataset: xr.Dataset, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Hours of falling asleep and of waking up in the week."""
    awake = dataset["awake"].sel(model=model).values.astype(int)
    hours = dataset["hour"].values[1:]
    step = np.diff(awake)
    return hours[step < 0], hours[step > 0]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Hours of sleep, limits of the variables, folds, and the loop through them."""
    return [*_of_hours(dataset), *_of_limits(dataset), *_of_folds(dataset), *_of_loop(dataset)]


def _of_hours(dataset: xr.Dataset) -> list[Claim]:
    """How long the models are awake, and when they fall asleep."""
    found = []
    for model, wake in (("2008", 15.44), ("2007", 17.63)):
        source = f"Phillips & Robinson {model}"
        part = dataset.sel(model=model)
        # The last sample is the first instant of the next week, and does not count.
        hours = 24 * float(part["awake"].isel(hour=slice(None, -1)).astype(float).mean())
        asleep, _ = _changes(dataset, model)
        found += [
            Claim(
                name=f"{model}: hours awake a day",
                source=source,
                expected=wake,
                measured=hours,
                tolerance=0.05,
                kind="exact",
            ),
            Claim(
                name=f"{model}: hours asleep a day",
                source=source,
                expected=24 - wake,
                measured=24 - hours,
                tolerance=0.05,
                kind="exact",
            ),
            Claim(
                name=f"{model}: episodes of sleep in a week",
                source="one a day",
                expected=DAYS,
                measured=len(asleep),
                kind="exact",
            ),
            Claim(
                name=f"{model}: spread of the hour of falling asleep over the week, h",
                source="the clock entrains it",
                expected=0.0,
                measured=float(np.ptp(asleep % 24)),
                tolerance=0.05,
                kind="exact",
            ),
        ]
    return found


def _of_limits(dataset: xr.Dataset) -> list[Claim]:
    """Between which numbers the variables go."""
    limits = {
        ("2008", "H"): (12.515, 15.071),
        ("2008", "V_v"): (-12.52, 3.48),
        ("2008", "V_m"): (-17.07, 1.20),
        ("2007", "H"): (8.09, 14.09),
        ("2007", "V_v"): (-12.65, 1.75),
    }
    found = []
    for (model, variable), (low, high) in limits.items():
        values = dataset["state"].sel(model=model, variable=variable)
        unit = "nM" if variable == "H" else "mV"
        for word, expected, measured in (
            ("lowest", low, float(values.min())),
            ("highest", high, float(values.max())),
        ):
            found.append(
                Claim(
                    name=f"{model}: {word} {variable}, {unit}",
                    source=f"Phillips & Robinson {model}, from public implementations",
                    expected=expected,
                    measured=measured,
                    tolerance=0.01,
                    kind="exact",
                )
            )
    return found


def _of_folds(dataset: xr.Dataset) -> list[Claim]:
    """Where the wakeful and the sleeping branch end, by two computations."""
    found = []
    folds = (("low_fold", 1.4502582, "lower"), ("high_fold", 2.4634649, "upper"))
    for index, (name, fold, word) in enumerate(folds):
        found += [
            Claim(
                name=f"2008: {word} fold, mV",
                source="published as 1.45 and 2.46; digits by scipy's root finder",
                expected=fold,
                measured=float(dataset[name]),
                tolerance=1e-6,
                kind="exact",
            ),
            Claim(
                name=f"2008: {word} fold by continuation, mV",
                source="the other computation",
                expected=fold,
                measured=float(dataset["branch_fold"][index]),
                tolerance=1e-5,
                kind="exact",
            ),
        ]
    return found


def _of_loop(dataset: xr.Dataset) -> list[Claim]:
    """The sleep switch turns over beyond the folds, not where its branches cross."""
    found = []
    drive = dataset["drive"].sel(model="2008")
    falling_asleep, waking_up = _changes(dataset, "2008")
    for word, times, name, sign in (
        ("falling asleep above the upper fold", falling_asleep, "high_fold", 1),
        ("waking up below the lower fold", waking_up, "low_fold", -1),
    ):
        beyond = sign * (drive.sel(hour=times) - dataset[name])
        found.append(
            Claim(
                name=f"2008: drive of {word}, mV, least of the week",
                source="a branch is not left before it folds, but minutes after",
                expected=0.0,
                measured=float(beyond.min()),
                kind="statistical",
                relation=">=",
            )
        )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """The week, its drives, its potentials, and the loop."""
    figure, ((raster, drives), (loop, potentials)) = plt.subplots(2, 2, figsize=(12, 7.5))
    week = dataset.sel(model="2008")
    asleep, awake = _changes(dataset, "2008")
    for day in range(DAYS):
        raster.broken_barh([(0, 24)], (day + 0.6, 0.8), color=COLOURS[4], alpha=0.35)
    episodes = _episodes(asleep, awake)
    for start, end in episodes:
        for day in range(int(start // 24), int(np.ceil(end / 24))):
            left, right = max(start, 24 * day), min(end, 24 * (day + 1))
            raster.broken_barh(
                [(left - 24 * day, right - left)], (day + 0.6, 0.8), color=COLOURS[0]
            )
    raster.set_yticks(range(1, DAYS + 1))
    raster.invert_yaxis()
    raster.set_xticks(range(0, 25, 4))
    raster.set_xlabel("time since the clock's peak (h)")
    raster.set_ylabel("day")
    hours = 24 * float(week["awake"].astype(float).mean())
    raster.set_title(f"asleep (blue) {24 - hours:.2f} h a day, awake {hours:.2f} h")

    three = week.sel(hour=slice(0, 72))
    clock = MODELS["2008"]
    hour = three["hour"].values
    circadian = clock.nu_vc * (clock.c0 + np.cos(2 * np.pi * hour / 24))
    somnogen = clock.nu_vh * three["state"].sel(variable="H")
    low, high = float(dataset["low_fold"]), float(dataset["high_fold"])
    drives.plot(hour, somnogen, label="sleep debt ν_vh H")
    drives.plot(hour, -circadian, label="clock −ν_vc C")
    drives.plot(hour, three["drive"], color="black", label="drive D: the difference")
    drives.axhspan(low, high, color="0.85", label="two stable states")
    drives.set_ylabel("drive to the sleep population (mV)")
    drives.set_title("debt against clock")
    potentials.plot(hour, three["state"].sel(variable="V_m"), label="wake population V_m")
    potentials.plot(hour, three["state"].sel(variable="V_v"), label="sleep population V_v")
    potentials.set_ylabel("potential (mV)")
    potentials.set_title("the flip-flop snaps")
    for axis in (drives, potentials):
        for start, end in episodes:
            if start < 72:
                axis.axvspan(start, min(end, 72), color=COLOURS[0], alpha=0.12, linewidth=0)
        axis.set_xlabel("time (h; shaded: asleep)")
        axis.set_xticks(range(0, 73, 12))
    drives.legend(loc="center right")
    potentials.set_ylim(top=8)  # room for the legend
    potentials.legend(loc="upper center", ncols=2)

    back = dataset["branch_back"] != 0
    loop.plot(
        dataset["branch_drive"],
        dataset["branch_wake"].where(~back),
        color="0.75",
        linewidth=5,
        label="stable, drive held fixed",
    )
    loop.plot(
        dataset["branch_drive"], dataset["branch_wake"].where(back), "--", color="0.5",
        label="unstable",
    )  # fmt: skip
    loop.plot(week["drive"], week["state"].sel(variable="V_m"), color=COLOURS[1], label="the week")
    for fold in (low, high):
        loop.axvline(fold, color="0.3", linewidth=1, linestyle=":")
        loop.text(fold, 3, f"{fold:.3f}", ha="center", fontsize=8)
    loop.set_ylim(top=5)
    loop.set_xlabel("drive D (mV)")
    loop.set_ylabel("potential of the wake population (mV)")
    loop.set_title("every day once around the folds")
    loop.legend(loc="lower left")
    return figure


def _episodes(asleep: np.ndarray, awake: np.ndarray) -> list[tuple[float, float]]:
    """Start and end of every sleep, those cut by the ends of the week included."""
    starts, ends = list(asleep), list(awake)
    if not starts or (ends and ends[0] < starts[0]):
        starts.insert(0, 0.0)
    if len(ends) < len(starts):
        ends.append(DAYS * 24.0)
    return list(zip(starts, ends, strict=True))
