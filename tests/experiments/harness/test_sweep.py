"""Points that are saved as they are finished, and those that are refused."""

import numpy as np
import pytest
import xarray as xr

from experiments.harness import gather, storage, sweep
from experiments.harness.sweep import PointStore, saving_points
from experiments.harness.usage import UsageError

POINTS = [{"width": width, "name": name} for width in (1, 2) for name in ("b", "a")]


def measured(calls):
    def measure_point(point):
        calls.append(point)
        value = point["width"] + len(calls) / 8
        return xr.Dataset({"value": ("draw", [value, -value])}, coords={"draw": [5, 7]})

    return measure_point


def test_outside_a_run_points_are_just_computed():
    calls = []
    parts = sweep(POINTS, measured(calls))
    assert calls == POINTS
    assert float(parts[2]["value"][0]) == 2 + 3 / 8


def test_finished_points_are_not_measured_again(tmp_path):
    calls = []
    for _ in range(2):
        with saving_points(PointStore(tmp_path / "points", "test")):
            parts = sweep(POINTS, measured(calls))
    assert calls == POINTS
    assert float(parts[3]["value"][1]) == -(2 + 4 / 8)


def test_what_an_earlier_process_took_counts(tmp_path):
    store = PointStore(tmp_path / "points", "test")
    with saving_points(store):
        sweep(POINTS[:2], measured([]))
    assert store.seconds_before == 0  # nothing was there
    for path in (tmp_path / "points").iterdir():
        stem, _, digest = path.name.rpartition("-")
        path.rename(path.with_name(f"{stem.rpartition('-')[0]}-120.5s-{digest}"))
    store = PointStore(tmp_path / "points", "test")
    with saving_points(store):
        sweep(POINTS, measured([]))
    assert store.seconds_before == 241


def test_a_changed_point_is_measured(tmp_path):
    calls = []
    with saving_points(PointStore(tmp_path / "points", "test")):
        sweep(POINTS, measured(calls))
    with saving_points(PointStore(tmp_path / "points", "test")):
        sweep([{"width": 3, "name": "b"}, *POINTS[1:]], measured(calls))
    assert calls[4:] == [{"width": 3, "name": "b"}]


def test_what_a_killed_write_left_is_removed(tmp_path):
    folder = tmp_path / "points"
    folder.mkdir()
    (folder / f"{storage.TEMPORARY}xyz").write_bytes(b"half")
    PointStore(folder, "test")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"other"])
def test_a_damaged_point_is_refused(tmp_path, content):
    with saving_points(PointStore(tmp_path / "points", "test")):
        sweep(POINTS[:1], measured([]))
    (path,) = (tmp_path / "points").iterdir()
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"{path.name} is damaged.*delete it"):
        PointStore(tmp_path / "points", "test")


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    folder = tmp_path / "points"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious", "utf-8")
    with pytest.raises(UsageError, match=r"thesis\.txt is not a file of this run"):
        PointStore(folder, "test")
    assert (folder / "thesis.txt").read_text("utf-8") == "precious"


def test_gather_puts_every_part_in_its_place():
    parts = sweep(POINTS, measured([]))
    whole = gather(POINTS[:3], parts[:3])
    assert whole["value"].dims == ("width", "name", "draw")
    assert list(whole["name"].values) == ["b", "a"]
    assert float(whole["value"].sel(width=1, name="a", draw=7)) == -(1 + 2 / 8)
    assert np.isnan(whole["value"].sel(width=2, name="a")).all()
