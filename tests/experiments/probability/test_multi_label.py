"""Several labels an example."""

import numpy as np
import pytest

from experiments.datasets import tables
from experiments.probability import multi_label


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(multi_label, multi_label.Config(seeds=2, steps=1000))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())


@pytest.mark.proof
def test_yeast_is_read_as_openml_gives_it(small_run, monkeypatch):
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)

    def fetched(**kwargs):
        assert kwargs["data_id"] == 40597
        genes = pandas.DataFrame(generator.normal(size=(60, 5)))
        functions = pandas.DataFrame(
            {"Class1": ["TRUE", "FALSE"] * 30, "Class2": ["TRUE"] * 60}, dtype="category"
        )
        return genes, functions

    monkeypatch.setattr(tables, "fetch_openml", fetched)
    found = small_run(multi_label, multi_label.Config(data="yeast", steps=20, seeds=1, batch=16))
    assert {claim.kind for claim in found.values()} <= {"exact", "reported", "qualitative"}
