"""Whatever fails, nothing finished is lost, nothing is half written, and a message says what."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from experiments.harness import storage
from experiments.harness.command_line import main

ROOT = Path(__file__).parents[3]
HANG = 1200  # seconds, for what would never end; no result depends on time
RESULTS = {
    "data.nc",
    "claims.json",
    "table.md",
    "figure.png",
    "figure.pdf",
    "figure.svg",
    "shown.json",
    "provenance.json",
}
SEALED = ("data.nc", "provenance.json")
REMADE = sorted(RESULTS - set(SEALED))  # from the data, whenever the command is given


@pytest.fixture
def command(package, tmp_path, capsys):
    """Runs `squares` into a folder; returns the exit status and what is on standard error."""

    def run(folder, *flags):
        status = main(["run", "squares", "--results", str(tmp_path / folder), *flags], package)
        return status, capsys.readouterr().err

    return run


def the_run(tmp_path, folder):
    (found,) = (tmp_path / folder).glob("squares/*")
    return found


def check_whole(run, expected):
    assert {path.name for path in run.iterdir()} - {".lock"} == RESULTS
    assert (run / "data.nc").read_bytes() == expected
    json.loads((run / "claims.json").read_text("utf-8"))
    json.loads((run / "provenance.json").read_text("utf-8"))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_whichever_write_fails_the_run_goes_on_when_there_is_room(
    command, tmp_path, monkeypatch, error
):
    assert command("whole")[0] == 0
    expected = (the_run(tmp_path, "whole") / "data.nc").read_bytes()
    write = os.fsync
    for failing in range(100):
        writes = 0

        def fsync(descriptor, failing=failing):
            nonlocal writes
            writes += 1
            if writes > failing:
                raise OSError(error, os.strerror(error))
            write(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        status, errors = command(f"full-{failing}")
        monkeypatch.setattr(os, "fsync", write)
        if status == 0:
            break
        assert status == 2
        assert errors.startswith("error: cannot write ")
        assert os.strerror(error) in errors
        left = the_run(tmp_path, f"full-{failing}")
        assert not list(left.rglob(f"{storage.TEMPORARY}*"))
        # What is there is whole: the same command takes it and goes on.
        assert command(f"full-{failing}")[0] == 0
        check_whole(left, expected)
    assert failing == len(RESULTS) + 4  # four points, and every file of the results


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    command, squares, tmp_path, monkeypatch
):
    opened = Path.open

    def refuse(path, mode="r", *arguments, **options):
        if "w" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    status, errors = command("ro")
    assert status == 2
    assert "cannot write in" in errors
    assert os.strerror(errno.EROFS) in errors
    assert squares.CALLS == []


@pytest.mark.sampled(3)
@pytest.mark.slice
@pytest.mark.parametrize("name", SEALED)
@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_or_a_missing_end_is_found(command, tmp_path, name, seed):
    assert command("run")[0] == 0
    path = the_run(tmp_path, "run") / name
    whole = path.read_bytes()
    generator = random.Random(seed)
    flipped = bytearray(whole)
    position = generator.randrange(len(whole))
    flipped[position] ^= 1 << generator.randrange(8)
    for damaged in (bytes(flipped), whole[:position], b""):
        path.write_bytes(damaged)
        status, errors = command("run")
        assert status == 2
        assert f"{path} is damaged" in errors
        assert "--force measures anew" in errors
        assert path.read_bytes() == damaged  # for whoever wants to look
    assert command("run", "--force")[0] == 0


@pytest.mark.parametrize("name", REMADE)
def test_what_is_made_of_the_data_is_made_again(command, tmp_path, name):
    assert command("run")[0] == 0
    path = the_run(tmp_path, "run") / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert command("run")[0] == 0
    assert path.read_bytes() == whole


def test_a_clock_that_jumps_does_not_matter(command, tmp_path, monkeypatch):
    assert command("steady")[0] == 0
    moments = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    assert command("jumping")[0] == 0
    expected = (the_run(tmp_path, "steady") / "data.nc").read_bytes()
    check_whole(the_run(tmp_path, "jumping"), expected)
    record = json.loads((the_run(tmp_path, "jumping") / "provenance.json").read_text("utf-8"))
    assert 0 <= record["seconds"] < 10**5  # one jump


def test_a_loss_that_is_nan_fails_its_claim_and_is_shown(command, squares, tmp_path, monkeypatch):
    square = squares.measure

    def broken(config, key):
        dataset = square(config, key)
        return dataset.assign(square=dataset["square"] * float("nan"))

    monkeypatch.setattr(squares, "measure", broken)
    status, _ = command("nan")
    assert status == 1
    claims = json.loads((the_run(tmp_path, "nan") / "claims.json").read_text("utf-8"))
    assert (claims[0]["measured"], claims[0]["verdict"]) == ("nan", "fails")
    assert {path.name for path in the_run(tmp_path, "nan").iterdir()} >= RESULTS


# Children are forked from a process that has imported everything, has drawn once, and has started
# no thread, so that sixty of them take seconds, not minutes. A moment is a call that changes the
# disk, not a time: the same moments are tried on any machine.
KILLER = """
import importlib, io, os, random, signal, sys
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
from experiments.harness import storage
from experiments.harness.command_line import main

package, results, most = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

# What is loaded when it is first used is loaded here.
squares = importlib.import_module(f"{package}.numbers.squares")
dataset = squares.measure(squares.Config(), None)
figure = squares.plot(storage.from_bytes(storage.to_bytes(dataset)))
for kind in ("png", "pdf"):
    figure.savefig(io.BytesIO(), format=kind)
assert main(["run", "squares", "--count", "0"], package=package) == 2
generator = random.Random(0)

def dies_at(moment):
    moments = iter(range(1000))
    def counted(change):
        def call(*arguments, **options):
            if next(moments) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)
        return call
    for name in ("open", "fchmod", "fsync", "replace", "mkdir", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    return moments

def status_of_child(folder, moment):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    moments = dies_at(moment)
    status = main(["run", "squares", "--results", str(folder)], package=package)
    if status == 0 and moment == NEVER:
        (results / "moments").write_text(str(next(moments)), "utf-8")
    os._exit(status)

NEVER = -1
assert status_of_child(results / "whole", NEVER) == 0
moments = int((results / "moments").read_text("utf-8"))
kills = rounds = 0
while kills < most:
    folder = results / f"round-{rounds}"
    for moment in (*generator.sample(range(moments), 5), NEVER):
        status = status_of_child(folder, moment)
        if status == 0:
            break  # what earlier ones did left it fewer moments
        kills += os.WIFSIGNALED(status)
    assert status == 0
    rounds += 1
print(kills, rounds, moments)
"""


def environment(tmp_path):
    return os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "MPLBACKEND": "Agg",
        "JAX_PLATFORMS": "cpu",
    }


@pytest.mark.parametrize("most", [10, pytest.param(50, marks=pytest.mark.proof)])
def test_sigkill_at_random_moments(package, tmp_path, most):
    killed = str(tmp_path / "killed")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLER), package, killed, str(most)],
        env=environment(tmp_path),
        capture_output=True,
        encoding="utf-8",
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    kills, rounds, moments = map(int, done.stdout.split())
    assert kills >= most
    assert moments > 4 * 4 + 4 * len(RESULTS)  # four points and every file, four calls for each
    expected = (the_run(tmp_path, "killed/whole") / "data.nc").read_bytes()
    for number in range(rounds):
        check_whole(the_run(tmp_path, f"killed/round-{number}"), expected)


def test_ctrl_c_says_how_to_go_on_and_so_it_does(package, tmp_path):
    # What a shell starts in the background ignores Ctrl-C, and so do its children.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from experiments.harness.command_line import main; "
        f"sys.exit(main(sys.argv[1:], package={package!r}))"
    )

    def start(folder, *command, **variables):
        results = ["--results", str(tmp_path / folder)]
        return subprocess.Popen(
            [sys.executable, "-c", script, *command, *results],
            env=environment(tmp_path) | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    run = ("run", "squares")
    for points, command in ((1, ("figures", "--jobs", "2")), (2, run)):
        interrupted = start("broken", *command, SQUARES_WAIT_AT=str(points))
        deadline = time.monotonic() + HANG
        while len(list((tmp_path / "broken").glob("squares/*/points/*.nc"))) < points:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: workers hear it too
        _, errors = interrupted.communicate(timeout=HANG)
        assert interrupted.returncode == 130
        assert errors == "interrupted; the same command goes on from the last point\n"
    for process in (start("broken", *run), start("whole", *run)):
        _, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
    expected = (the_run(tmp_path, "whole") / "data.nc").read_bytes()
    check_whole(the_run(tmp_path, "broken"), expected)


class Removals:
    """Stands for functions that remove files, and is interrupted after so many."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.done = 0

    def of(self, remove):
        def removing(*arguments, **options):
            if self.done == self.allowed:
                raise KeyboardInterrupt
            self.done += 1
            remove(*arguments, **options)

        return removing


@pytest.mark.sampled(2)
@pytest.mark.parametrize("flags", [(), ("--force",)], ids=["tidying", "force"])
def test_whichever_removal_is_interrupted_the_same_command_goes_on(
    command, tmp_path, monkeypatch, flags
):
    assert command("whole")[0] == 0
    expected = (the_run(tmp_path, "whole") / "data.nc").read_bytes()
    for allowed in range(100):
        folder = f"after-{allowed}"
        if flags:
            assert command(folder)[0] == 0
        removals = Removals(allowed)
        with monkeypatch.context() as patched:
            for name in ("unlink", "rmdir"):
                patched.setattr(os, name, removals.of(getattr(os, name)))
            status, _ = command(folder, *flags)
        if status == 0:
            break
        assert status == 130
        assert command(folder)[0] == 0
        check_whole(the_run(tmp_path, folder), expected)
    assert allowed == removals.done > 4  # four points at least


class Swallower:
    """Its destructor is interrupted, and Python drops what is raised in destructors."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_that_comes_in_a_destructor_is_not_lost(command, squares, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sleep = time.sleep

    def interrupted(seconds):
        if len(squares.CALLS) == 2:
            Swallower()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", interrupted)
    try:
        status, errors = command("run", "--pause", "0.2")
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == 130
    assert errors == "interrupted; the same command goes on from the last point\n"
    assert len(list(the_run(tmp_path, "run").glob("points/*.nc"))) == 1
