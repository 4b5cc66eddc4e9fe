"""What a run of a part of `certify` does to the certificate that is there."""

import copy
import json

import jax
import pytest

from experiments.functions import certify
from experiments.harness import storage, stored
from experiments.harness.usage import UsageError
from experiments.tools import publish

VERSIONS = {"jax": "0", "jaxlib": "0"}
OLD = {"largest_error_ulp": 9.0, "at": 1.0, "inputs_above_1_ulp": 7}
BEFORE = {
    "versions": VERSIONS,
    "commit": "old",
    "wrong_zero_infinity_or_nan": 0,
    "errors": {name: dict.fromkeys(certify.ORDERS, OLD) for name in ("sigmoid", "silu")},
}


@pytest.fixture
def run(tmp_path):
    """A finished run that tried the values of one function."""
    small = certify.Config(stride=2**22 + 1, functions=("silu",), orders=("value",))
    dataset = certify.measure(small, jax.random.key(0))
    (tmp_path / "data.nc").write_bytes(storage.to_bytes(dataset))
    record = {"versions": VERSIONS, "commit": "new", "utc": "now", "seconds": 1.0, "dirty": False}

    def put(**changed):
        (tmp_path / "provenance.json").write_text(json.dumps(record | changed), "utf-8")
        return tmp_path

    return put


def test_a_part_that_was_tried_again_replaces_its_cell_alone(run):
    before = copy.deepcopy(BEFORE)
    renewed = publish.certificate(run(), before)
    cell = renewed["errors"]["silu"]["value"]
    assert cell["largest_error_ulp"] < 2.5
    assert (cell["commit"], renewed["commit"]) == ("new", "old")
    renewed["errors"]["silu"]["value"] = OLD
    assert renewed == before == BEFORE


@pytest.mark.parametrize("changed", [{"dirty": True}, {"versions": {"jax": "1"}}])
def test_a_part_of_other_versions_or_unknown_code_is_refused(run, changed):
    with pytest.raises(UsageError, match="tried a part"):
        publish.certificate(run(**changed), BEFORE)


def test_pages_of_a_cpu_take_no_newer_run_of_a_gpu(tmp_path):
    def run_on(backend, utc, preset="paper"):
        told = {"experiment": "accuracy", "backend": backend, "utc": utc, "preset": preset}
        record = dict.fromkeys(stored._FIELDS, "") | told
        folder = tmp_path / "accuracy" / f"{backend} {utc}"
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(json.dumps(record), "utf-8")

    def chosen(backend):
        folder = publish._at("paper", stored.newest(tmp_path, backend).get("accuracy", ()))
        return folder and folder.name

    run_on("cpu", "1")
    assert chosen("gpu") is None
    for run in (("cpu", "2"), ("cpu", "4", "quick"), ("gpu", "3")):
        run_on(*run)
    assert chosen("cpu") == "cpu 2"
    assert chosen("gpu") == "gpu 3"
    assert chosen(None) == "gpu 3"


def test_a_part_without_a_whole_is_refused(run):
    with pytest.raises(UsageError, match="tried a part"):
        publish.certificate(run())
