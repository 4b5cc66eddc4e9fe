"""Any number of devices and processes give the dataset of one device, and none waits for the dead.

Every run is a process of its own, since a process keeps the devices that it began with.
"""

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.harness import storage
from experiments.harness.processes import Processes
from experiments.harness.usage import UsageError

ROOT = Path(__file__).parents[3]
HANG = 1200  # seconds, for what would never end; no result depends on time

# Small networks, drawn and followed for some steps of gradient descent, three seeds a point: a
# number that neither two nor four devices divide.
SOURCE = '''
"""A toy: networks that learn."""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import xarray as xr

from experiments.harness import gather, reported, over_devices, sweep


@dataclasses.dataclass(frozen=True)
class Config:
    """How many."""

    points: int = 2
    """Widths."""

    @classmethod
    def quick(cls):
        return cls()

    paper = quick


def measure(config, key):
    data = jax.random.normal(jax.random.key(7), (32, 8))

    def learn(key, rate):
        def loss(weights):
            return jnp.mean(jnp.tanh(data @ weights) ** 2)

        def step(weights, _):
            value, slope = jax.value_and_grad(loss)(weights)
            return weights - rate * slope, value

        return jax.lax.scan(step, jax.random.normal(key, (8, 8)), length=20)[1]

    def measure_point(point):
        if Path(f"hold-{point['number']}").exists():
            Path("held").touch()
        while Path(f"hold-{point['number']}").exists():
            time.sleep(0.01)
        keys = jax.random.split(jax.random.fold_in(key, point["number"]), 3)
        one_by_one = over_devices(learn, keys, jnp.full(3, 0.5), one_by_one=True)
        side_by_side = over_devices(learn, keys, jnp.float32(0.5), in_axes=(0, None))
        dims = ("seed", "step")
        return xr.Dataset({"loss": (dims, one_by_one), "side_by_side": (dims, side_by_side)})

    points = [{"number": number} for number in range(config.points)]
    return gather(points, sweep(points, measure_point))


def claims(dataset):
    return [reported("it learns", "home", float(dataset["loss"][..., -1].max()))]


def plot(dataset):
    figure, axis = plt.subplots()
    axis.plot(dataset["loss"].values[0].T)
    return figure
'''


@pytest.fixture
def start(tmp_path):
    """Starts one process on a number of devices, with its results in a folder of that name."""
    theme = tmp_path / "toys" / "networks"
    theme.mkdir(parents=True)
    (tmp_path / "toys" / "__init__.py").write_text('THEMES = ("networks",)\n', "utf-8")
    (theme / "__init__.py").write_text('EXPERIMENTS = ("learning",)\n', "utf-8")
    (theme / "learning.py").write_text(textwrap.dedent(SOURCE).lstrip(), "utf-8")
    script = (
        "import sys; from experiments.harness.command_line import main; "
        "sys.exit(main(sys.argv[1:], package='toys'))"
    )
    started = []

    def run(folder, devices, *flags):
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | {
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "MPLBACKEND": "Agg",
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "XLA_FLAGS": "",
        }
        results = ["--results", str(tmp_path / folder)]
        process = subprocess.Popen(
            [sys.executable, "-c", script, "run", "learning", *results, *flags],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def pair(start, folder, *flags):
    """Two processes of two devices each that meet on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meet = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process-id")
    return [start(folder, 2, *flags, *meet, str(number)) for number in range(2)]


def ended(*processes):
    """What they printed, once all have ended well."""
    printed = []
    for process in processes:
        out, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
        printed.append(out)
    return printed


def data(tmp_path, folder):
    (path,) = (tmp_path / folder).glob("learning/*/data.nc")
    return path.read_bytes()


@pytest.mark.slow
def test_any_devices_give_what_one_gives(start, tmp_path):
    ended(start("one", 1), start("four", 4))
    first, second = ended(*pair(start, "two by two"))
    assert "it learns" in first
    assert "learns" not in second  # one speaks and writes, for all
    one, four, pairs = (
        storage.from_bytes(data(tmp_path, folder)) for folder in ("one", "four", "two by two")
    )
    # One after the other, every seed is computed alike; side by side, products are wider on
    # fewer devices, and may round otherwise.
    assert four["loss"].identical(one["loss"])
    assert pairs["loss"].identical(one["loss"])
    np.testing.assert_allclose(four["side_by_side"], one["side_by_side"], rtol=1e-6)
    np.testing.assert_allclose(pairs["side_by_side"], one["side_by_side"], rtol=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dead", [0, 1])
def test_when_a_process_dies_the_other_ends_and_the_run_can_go_on(start, tmp_path, dead):
    flags = ("--points", "3")
    (tmp_path / "hold-2").touch()
    processes = pair(start, "broken", *flags)
    deadline = time.monotonic() + HANG
    while not (tmp_path / "held").exists():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    processes[dead].kill()
    processes[dead].wait()
    (tmp_path / "hold-2").unlink()
    survivor = processes[1 - dead]
    _, errors = survivor.communicate(timeout=HANG)
    assert survivor.returncode != 0
    # Ours, or JAX's own where it ends the process itself.
    assert (
        "processes lost each other, most likely because one died" in errors
        or "This most likely indicates that another task died" in errors
    )
    assert len(list((tmp_path / "broken").glob("learning/*/points/*.nc"))) >= 2
    ended(start("broken", 1, *flags), start("whole", 1, *flags))
    broken, whole = (storage.from_bytes(data(tmp_path, folder)) for folder in ("broken", "whole"))
    assert broken["loss"].identical(whole["loss"])
    np.testing.assert_allclose(broken["side_by_side"], whole["side_by_side"], rtol=1e-6)


def test_what_process_0_refuses_all_refuse(start, tmp_path):
    (tmp_path / "file").touch()
    for process in pair(start, "file"):
        _, errors = process.communicate(timeout=HANG)
        assert process.returncode == 2
        assert "error: cannot make the folder" in errors
        assert "Traceback" not in errors


@pytest.mark.slice
@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Processes(coordinator="127.0.0.1:1"), "go together"),
        (Processes(processes=2, process_id=0), "go together"),
        (Processes(coordinator="127.0.0.1:1", processes=2, process_id=2), "2 of 2"),
        (Processes(distributed=True), "cannot join the other processes"),
    ],
)
def test_flags_that_do_not_say_where_the_others_are(job, message, monkeypatch):
    for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=message):
        job.join()


def test_nothing_to_join():
    Processes().join()
