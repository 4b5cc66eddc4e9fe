"""One run into one folder: what is written, kept and refused."""

import errno
import fcntl
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax
from experiments.harness import code, storage
from experiments.harness.runner import Run, reused, run
from experiments.harness.usage import UsageError


@pytest.fixture
def request_of(squares, tmp_path):
    def make(seed=0, **fields):
        return Run(squares, squares.Config(**fields), "quick", seed, tmp_path / "results")

    return make


def test_everything_is_written(request_of):
    request = request_of()
    claims = run(request)
    assert [claim.verdict for claim in claims] == ["holds", "reported"]
    written = {path.name for path in request.folder.iterdir()}
    assert written == {
        *("data.nc", "claims.json", "shown.json", "provenance.json", "table.md"),
        *("figure.png", "figure.pdf", "figure.svg"),
        ".lock",
    }
    record = json.loads((request.folder / "provenance.json").read_text("utf-8"))
    assert record["seed"] == 0
    assert record["config"]["count"] == 4
    assert record["versions"]["jax"]
    assert record["versions"]["sigjax"] == sigjax.__version__
    assert record["sigjax"] == "checkout"
    assert record["backend"] == "cpu"
    assert {"commit", "dirty", "device_kind", "x64", "matmul_precision", "utc"} <= set(record)
    assert (request.folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (request.folder / "figure.pdf").read_bytes().startswith(b"%PDF")


DETAILS = {"details.png", "details.pdf", "details.svg"}


def test_a_second_figure_is_drawn_and_cleared_as_the_first(detailed, tmp_path, monkeypatch):
    request = Run(detailed, detailed.Config(), "quick", 0, tmp_path / "results")

    def drawn():
        return {path.name for path in request.folder.glob("details.*")}

    run(request)
    assert drawn() == DETAILS
    assert "the second figure" in (request.folder / "details.svg").read_text("utf-8")
    assert "the second figure" not in (request.folder / "figure.svg").read_text("utf-8")
    shown = json.loads((request.folder / "shown.json").read_text("utf-8"))
    assert shown["details"] == "Their <roots>."
    (request.folder / "details.png").write_bytes(b"old")
    run(request)  # no file of somebody else
    assert (request.folder / "details.png").read_bytes().startswith(b"\x89PNG")

    def fails(config, key):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(detailed, "measure", fails)
        with pytest.raises(RuntimeError):
            run(request, force=True)
    assert drawn() == set()
    run(request)
    monkeypatch.delattr(detailed, "details")
    run(request)  # by code that has no second figure any more
    assert drawn() == set()


def test_numbers_that_json_has_not_become_strings(request_of):
    request = request_of()
    run(request)

    def refuse(name):
        raise AssertionError(name)

    rows = json.loads((request.folder / "claims.json").read_text("utf-8"), parse_constant=refuse)
    assert rows[1]["measured"] == "inf"
    assert rows[1]["expected"] is None


def test_a_finished_run_is_judged_again_but_not_measured(request_of, squares):
    run(request_of())
    first = (request_of().folder / "data.nc").read_bytes()
    claims = run(request_of())
    assert squares.CALLS == [0, 1, 2, 3]
    assert claims[0].measured == 9
    assert (request_of().folder / "data.nc").read_bytes() == first


def test_a_result_of_other_code_is_taken_only_on_request(request_of, monkeypatch, capsys, squares):
    monkeypatch.setattr(code, "code_digest", lambda module: "00000000")
    old = request_of()
    run(old)
    run(request_of(count=5))
    monkeypatch.setattr(code, "code_digest", lambda module: "11111111")
    new = request_of()
    assert new.folder != old.folder
    squares.CALLS.clear()
    taken = reused(new)
    assert "same configuration, seed and device (code 00000000, today 11111111)" in (
        capsys.readouterr().out
    )
    assert taken.folder == old.folder
    assert run(taken)[0].measured == 9
    assert squares.CALLS == []
    run(new)
    assert squares.CALLS == [0, 1, 2, 3]
    assert reused(new) is new  # today's code has made one
    assert reused(request_of(count=6)).made_by.digest == "11111111"  # nothing of its kind is there


def test_force_measures_again(request_of, squares):
    run(request_of())
    run(request_of(), force=True)
    assert len(squares.CALLS) == 8


def test_configuration_and_seed_choose_the_folder(request_of):
    folders = {request_of().folder, request_of(count=5).folder, request_of(seed=1).folder}
    assert len(folders) == 3
    assert request_of().folder.name.startswith("quick-seed0-")
    assert request_of().folder.parent.name == "squares"


def test_precision_and_platform_choose_the_folder(request_of, monkeypatch):
    usual = request_of().folder
    with jax.enable_x64(True):
        wide = request_of().folder
    with jax.default_matmul_precision("highest"):
        exact = request_of().folder
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    names = [folder.name for folder in (usual, wide, exact, request_of().folder)]
    labels = ["", "-x64", "-matmul_highest", "-gpu"]
    code = usual.name.removeprefix("quick-seed0-")
    assert names == [f"quick-seed0{label}-{code}" for label in labels]


def test_every_seed_has_a_key_of_its_own(request_of):
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    keys = [tuple(jax.random.key_data(request_of(seed=seed).key).tolist()) for seed in seeds]
    # The two halves of 64 bits, as with x64, and for small seeds those of jax.random.key.
    assert keys == [divmod(seed, 2**32) for seed in seeds]
    with jax.enable_x64(True):
        assert jnp.all(request_of(seed=2**63).key == jax.random.key(np.uint64(2**63)))
    for seed in seeds[:4]:
        assert request_of(seed=seed).key == jax.random.key(seed)
    for seed in (-1, 2**64):
        with pytest.raises(UsageError, match=r"--seed must be from 0 to 2\^64 - 1, got"):
            request_of(seed=seed)


def test_a_file_system_without_locks_says_so(request_of, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(
        UsageError, match=r"cannot lock .*\.lock: No locks available; --results must"
    ):
        run(request_of())


@pytest.mark.parametrize("force", [False, True])
def test_folders_may_be_links(request_of, squares, tmp_path, force):
    elsewhere = tmp_path / "größer als hier"
    elsewhere.mkdir()
    (tmp_path / "results").symlink_to(elsewhere, target_is_directory=True)
    run(request_of())
    # Points kept elsewhere are not taken for those of a new measurement.
    points = tmp_path / "points"
    points.mkdir()
    (request_of().folder / "points").symlink_to(points, target_is_directory=True)
    run(request_of(), force=force)
    assert len(squares.CALLS) == (8 if force else 4)
    assert not (request_of().folder / "points").exists()
    assert points.exists()


def test_damaged_data_are_refused_until_forced(request_of):
    request = request_of()
    run(request)
    (request.folder / "data.nc").write_bytes(b"half")
    with pytest.raises(UsageError, match=r"data\.nc is damaged.*--force"):
        run(request)
    assert run(request, force=True)[0].verdict == "holds"


@pytest.mark.parametrize("text", ["", "{}", "[1"])
def test_a_damaged_record_is_refused(request_of, text):
    request = request_of()
    run(request)
    (request.folder / "provenance.json").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"provenance\.json is damaged"):
        run(request)


def test_a_foreign_file_is_refused_even_when_forced(request_of):
    request = request_of()
    request.folder.mkdir(parents=True)
    (request.folder / "notes.txt").write_text("precious", "utf-8")
    for force in (False, True):
        with pytest.raises(UsageError, match=r"notes\.txt is not a file of this run"):
            run(request, force=force)
    assert (request.folder / "notes.txt").read_text("utf-8") == "precious"


def test_what_a_killed_write_left_is_removed(request_of):
    request = request_of()
    request.folder.mkdir(parents=True)
    left = request.folder / f"{storage.TEMPORARY}abc"
    left.write_bytes(b"half")
    run(request)
    assert not left.exists()


def test_two_runs_at_once_are_refused(request_of):
    request = request_of()
    request.folder.mkdir(parents=True)
    with (request.folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run is at work"):
            run(request)


def test_a_folder_that_cannot_be_made_is_refused(request_of, tmp_path):
    (tmp_path / "results").write_text("a file", "utf-8")
    with pytest.raises(UsageError, match="cannot make the folder"):
        run(request_of())
