"""One run into one folder: what is written, kept and refused."""

import fcntl
import json

import pytest

from experiments.harness import runner, storage
from experiments.harness.refusal import Refusal
from experiments.harness.runner import Run, run


@pytest.fixture
def request_of(squares, tmp_path):
    def make(seed=0, **fields):
        return Run(squares, squares.Config(**fields), "quick", seed, tmp_path / "results")

    return make


def test_everything_is_written(request_of):
    request = request_of()
    claims = run(request)
    assert [claim.verdict for claim in claims] == ["holds", None]
    written = {path.name for path in request.folder.iterdir()}
    assert written == {
        *("data.nc", "claims.json", "figure.png", "figure.pdf", "provenance.json", "table.md"),
        ".lock",
    }
    record = json.loads((request.folder / "provenance.json").read_text())
    assert record["seed"] == 0
    assert record["config"]["count"] == 4
    assert record["versions"]["jax"]
    assert record["backend"] == "cpu"
    assert {"commit", "dirty", "device_kind", "x64", "matmul_precision", "utc"} <= set(record)
    assert (request.folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (request.folder / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_numbers_that_json_has_not_become_strings(request_of):
    request = request_of()
    run(request)

    def refuse(name):
        raise AssertionError(name)

    rows = json.loads((request.folder / "claims.json").read_text(), parse_constant=refuse)
    assert rows[1]["measured"] == "inf"
    assert rows[1]["expected"] == "nan"


def test_a_finished_run_is_judged_again_but_not_measured(request_of, squares):
    run(request_of())
    first = (request_of().folder / "data.nc").read_bytes()
    claims = run(request_of())
    assert squares.CALLS == [0, 1, 2, 3]
    assert claims[0].measured == 9
    assert (request_of().folder / "data.nc").read_bytes() == first


def test_a_result_of_other_code_says_so(request_of, monkeypatch, capsys):
    run(request_of())
    run(request_of())
    assert "by other code" not in capsys.readouterr().out
    monkeypatch.setattr(runner, "commit", lambda: "0" * 40)
    run(request_of())
    assert "by other code (commit" in capsys.readouterr().out


def test_force_measures_again(request_of, squares):
    run(request_of())
    run(request_of(), force=True)
    assert len(squares.CALLS) == 8


def test_configuration_and_seed_choose_the_folder(request_of):
    folders = {request_of().folder, request_of(count=5).folder, request_of(seed=1).folder}
    assert len(folders) == 3
    assert request_of().folder.name.startswith("quick-seed0-")
    assert request_of().folder.parent.name == "squares"


def test_damaged_data_are_refused_until_forced(request_of):
    request = request_of()
    run(request)
    (request.folder / "data.nc").write_bytes(b"half")
    with pytest.raises(Refusal, match=r"data\.nc is damaged.*--force"):
        run(request)
    assert run(request, force=True)[0].verdict == "holds"


@pytest.mark.parametrize("text", ["", "{}", "[1"])
def test_a_damaged_record_is_refused(request_of, text):
    request = request_of()
    run(request)
    (request.folder / "provenance.json").write_text(text)
    with pytest.raises(Refusal, match=r"provenance\.json is damaged"):
        run(request)


def test_a_foreign_file_is_refused_even_when_forced(request_of):
    request = request_of()
    request.folder.mkdir(parents=True)
    (request.folder / "notes.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(Refusal, match=r"notes\.txt is not a file of this run"):
            run(request, force=force)
    assert (request.folder / "notes.txt").read_text() == "precious"


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
    with (request.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="another run is at work"):
            run(request)


def test_a_folder_that_cannot_be_made_is_refused(request_of, tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(Refusal, match="cannot make the folder"):
        run(request_of())
