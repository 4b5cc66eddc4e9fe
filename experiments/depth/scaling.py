r"""Time and memory of a gradient at any depth, over depth, width, seeds and devices.

Figure: none of a paper's; what to expect before one asks for a cluster. The gradient norms of all
layers of networks with L layers of n units, for S independent networks on D devices and batches of
B, their weights drawn from keys whenever they are needed (Chen et al. 2016, arXiv:1604.06174, give
up activations in the same way). On paper a device keeps one network's signals, 4 L B n bytes of
float32, and kernels of 4 n^2 that do not count; its time is ceil(S / D) L (a n^2 + b B n^2), of
which a, drawing every weight twice, is most.

Command: python -m experiments run scaling [--preset quick|paper]
Time: quick 30 s, paper 4 min (2 CPU cores); paper takes 10,000 layers of 1,000 units.
Must show: memory as 4 L B n, whatever S; time in proportion to L and S and, beyond a few hundred
units, to n^2; the same numbers to the last bit on any number of devices. Virtual devices share the
cores of one machine: they show that the work divides, not how fast real ones are.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sigjax
from experiments.harness import Claim, Settings, Within, reported, sweep
from experiments.harness.settings import wrong_value
from sigjax.theory import mean_field

TIMED = True
_GIB = 2.0**30


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """The sizes that are varied, each beside the first ones of the others."""

    depths: Annotated[tuple[int, ...], Within(10)] = (250, 500, 1500)
    """Layers L; the first is used where others vary."""
    widths: tuple[int, ...] = (128, 256, 512)
    """Units n of a layer; the first is used where others vary."""
    seeds: tuple[int, ...] = (1, 2, 4)
    """Independent networks S; the first is used where others vary, the last on several devices."""
    devices: tuple[int, ...] = (1, 2)
    """Virtual devices D, all of one CPU."""
    batch: int = 32
    """Examples in a batch (B)."""
    deepest: Annotated[tuple[int, int], Within(10)] = (2000, 256)
    """Layers and units of the network that is measured last."""
    rounds: int = 5
    """Readings of which the median counts; the deepest network is read once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("depths", "widths", "seeds"):
            if len(getattr(self, name)) < 2:
                raise wrong_value(name, "two or more sizes", getattr(self, name))
        if 1 not in self.devices:
            raise wrong_value("devices", "numbers with 1 among them", self.devices)

    @classmethod
    def quick(cls) -> "Config":
        """Up to 2,000 layers of 256."""
        return cls(rounds=2)

    @classmethod
    def paper(cls) -> "Config":
        """Up to 10,000 layers of 1,000."""
        return cls(widths=(250, 500, 1000, 2000), devices=(1, 2, 4), deepest=(10_000, 1000))


def _sizes(config: Config, devices: int) -> list[dict[str, Any]]:
    """What is measured on so many devices, and which size it varies."""
    depth, width, seeds = config.depths[0], config.widths[0], config.seeds[0]
    middle = {"depth": depth, "width": width, "seeds": seeds, "batch": config.batch}
    sizes = [middle | {"seeds": max(config.seeds), "varied": "devices", "rounds": config.rounds}]
    if devices > 1:
        return sizes
    for field, values in (
        ("depth", config.depths),
        ("width", config.widths),
        ("seeds", config.seeds),
    ):
        sizes += [middle | {field: n, "varied": field, "rounds": config.rounds} for n in values]
    depth, width = config.deepest
    deepest = middle | {"depth": depth, "width": width, "seeds": 1}
    return [*sizes, deepest | {"varied": "deepest", "rounds": 0}]


def measure(config: Config, key: Array) -> xr.Dataset:
    """Measures in processes of their own, which have the devices that are asked for."""
    del key  # time and memory do not depend on what is drawn
    points = [{"devices": devices} for devices in config.devices]
    parts = sweep(points, functools.partial(_measure_on, config=config))
    return xr.concat(parts, "size", combine_attrs="override")


def _measure_on(point: Mapping[str, Any], config: Config) -> xr.Dataset:
    devices = point["devices"]
    sizes = _sizes(config, devices)
    varied = [size.pop("varied") for size in sizes]
    # The first depth, width and number of seeds are one size, measured once.
    requests = list(dict.fromkeys(json.dumps(size) for size in sizes))
    done = subprocess.run(
        [sys.executable, "-m", "experiments.depth._footprint"],
        input=f"[{','.join(requests)}]",
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise RuntimeError(f"measuring on {devices} devices failed:\n{done.stderr}")
    found = dict(zip(requests, map(json.loads, done.stdout.splitlines()), strict=True))
    rows = [size | found[json.dumps(size)] for size in sizes]
    return xr.Dataset(
        {name: ("size", np.array([row[name] for row in rows])) for name in rows[0]}
        | {"varied": ("size", varied), "devices": ("size", [devices] * len(rows))}
    )


def _varied(dataset: xr.Dataset, field: str) -> xr.Dataset:
    return dataset.isel(size=np.flatnonzero(dataset["varied"].values == field))


def _power(dataset: xr.Dataset, field: str) -> float:
    """By which power of a size the time grows, between its two largest values."""
    two = _varied(dataset, field).isel(size=slice(-2, None))
    seconds, sizes = (np.log(two[name].values.astype(float)) for name in ("seconds", field))
    return float(np.diff(seconds)[0] / np.diff(sizes)[0])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Memory and results by formula; time for information, since other work bends it."""
    by_depth, by_seeds = _varied(dataset, "depth"), _varied(dataset, "seeds")
    longer = by_depth.isel(size=slice(-2, None))
    growth = float(longer["bytes"].diff("size")[0] / longer["depth"].diff("size")[0])
    law = 4.0 * float(longer["batch"][0]) * float(longer["width"][0])
    rates = _varied(dataset, "devices")["log10_rate"]
    deepest = _varied(dataset, "deepest").isel(size=0)
    signals = 4 * float(deepest["depth"] * deepest["width"] * deepest["batch"]) / _GIB
    chi1 = float(mean_field(sigjax.sigmoid, 3**-0.5).chi1)
    shape = f"{int(deepest['depth']):,} layers of {int(deepest['width']):,}"
    return [
        Claim(
            name="bytes that a layer more takes, over those of its signals",
            source="4 B n; weights are drawn again",
            expected=1.0,
            measured=growth / law,
            tolerance=0.05,
            kind="exact",
        ),
        Claim(
            name="bytes that a device takes for all seeds, over those for one",
            source="one network at a time",
            expected=1.0,
            measured=float(by_seeds["bytes"].max() / by_seeds["bytes"].min()),
            tolerance=0.05,
            kind="exact",
        ),
        Claim(
            name="largest difference of a result between numbers of devices",
            source="slices never meet",
            expected=0.0,
            measured=float(rates.max() - rates.min()),
            kind="exact",
        ),
        *(
            reported(
                f"power of the {field} with which time grows",
                f"L S n^2 would be {power}; the clock passes no verdict",
                _power(dataset, field),
            )
            for field, power in (("depth", 1), ("seeds", 1), ("width", 2))
        ),
        Claim(
            name=f"{shape}: rate per layer",
            source="sqrt(chi_1), Schoenholz et al. 2017",
            expected=chi1**0.5,
            measured=10 ** float(deepest["log10_rate"]),
            tolerance=0.01,
            kind="statistical",
            relative=True,
        ),
        reported(f"{shape}: seconds", "this machine", float(deepest["seconds"])),
        reported(
            f"{shape}: GiB of the whole process at its peak",
            f"this machine; signals alone take {signals:.3g}",
            float(deepest["peak_bytes"]) / _GIB,
        ),
    ]


def _ticks(axis: Axes, sizes: np.ndarray) -> None:
    """The sizes themselves along a logarithmic axis."""
    axis.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axis.set_xticks([], minor=True)


def plot(dataset: xr.Dataset) -> Figure:
    """Memory and time over depth, width and seeds with the laws, and time over devices."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    memory, by_depth, by_width, by_devices = axes.flat
    rows = _varied(dataset, "depth")
    depth = rows["depth"].values
    memory.loglog(depth, rows["bytes"] / 2**20, "o", label="measured")
    law = 4.0 * depth * rows["batch"].values * rows["width"].values / 2**20
    memory.loglog(depth, law, "-", color="0.5", label="4 L B n, the signals")
    stored = law + 4.0 * depth * rows["width"].values.astype(float) ** 2 / 2**20
    memory.loglog(depth, stored, ":", color="0.5", label="with stored weights")
    _ticks(memory, depth)
    memory.set(xlabel="layers L", ylabel="memory of a device (MiB)", title="Memory")
    memory.legend()
    for axis, field, label, power in (
        (by_depth, "depth", "layers L", 1),
        (by_width, "width", "units of a layer n", 2),
    ):
        rows = _varied(dataset, field)
        sizes, seconds = rows[field].values.astype(float), rows["seconds"].values
        axis.loglog(sizes, seconds, "o", label="measured")
        guide = seconds[-1] * (sizes / sizes[-1]) ** power
        axis.loglog(sizes, guide, "-", color="0.5", label=f"power {power}")
        _ticks(axis, sizes)
        axis.set(xlabel=label, ylabel="time (s)", title=f"Time over {field}")
        axis.legend()
    rows, seeds = _varied(dataset, "devices"), _varied(dataset, "seeds")
    by_devices.plot(
        rows["devices"], rows["seconds"], "o-", label=f"{max(rows['seeds'].values)} seeds"
    )
    by_devices.plot(1, seeds["seconds"][0], "s", label="1 seed on 1 device")
    by_devices.set(
        xlabel="virtual devices of one CPU", ylabel="time (s)", title="Time over devices"
    )
    by_devices.set_ylim(bottom=0)
    by_devices.set_xticks(rows["devices"].values)
    by_devices.legend()
    return figure
