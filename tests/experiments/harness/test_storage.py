"""Datasets as bytes, and files that are whole or absent."""

import numpy as np
import pytest
import xarray as xr

from experiments.harness import storage
from experiments.harness.usage import UsageError


def dataset():
    return xr.Dataset(
        {
            "slope": (("layer", "seed"), np.array([[1.5, np.nan], [-np.inf, 1e-300]])),
            "count": ("layer", np.array([3, 2**40])),
            "right": ("layer", np.array([True, False])),
        },
        coords={"layer": ["first", "last"], "seed": np.arange(2)},
        attrs={"title": "a title"},
    ).assign(rate=lambda d: d["slope"].assign_attrs(units="1/s"))


def test_a_round_trip_keeps_values_names_and_units():
    read = storage.from_bytes(storage.to_bytes(dataset()))
    np.testing.assert_array_equal(read["slope"], dataset()["slope"])
    np.testing.assert_array_equal(read["count"], [3, 2**40])
    np.testing.assert_array_equal(read["right"], [1, 0])
    assert list(read["layer"].values) == ["first", "last"]
    assert read["rate"].attrs["units"] == "1/s"
    assert read.attrs["title"] == "a title"


def test_the_same_data_are_the_same_bytes():
    once = storage.to_bytes(dataset())
    assert once == storage.to_bytes(dataset())
    assert once == storage.to_bytes(storage.from_bytes(once))


def test_nothing_is_left_where_writing_fails(tmp_path):
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(UsageError, match=r"cannot write .*file.data\.nc"):
        storage.write_bytes(tmp_path / "file" / "data.nc", b"content")
    (tmp_path / "folder" / "data.nc").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot write"):
        storage.write_bytes(tmp_path / "folder" / "data.nc", b"content")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["data.nc"]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "data.nc"
    storage.write_bytes(path, b"old and long")
    storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
