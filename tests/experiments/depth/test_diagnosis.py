"""Verdicts of the probe."""

import jax
import numpy as np
import pytest

from experiments.depth import diagnosis
from experiments.depth._patients import price


@pytest.mark.proof
def test_diagnosis(small_run, monkeypatch):
    monkeypatch.setitem(price.SUBJECTS, "small", lambda: price.perceptron(3, 8, 4))
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # other tests want theirs
    few = {"patients": ("dict of arrays",), "subjects": ("small",)}
    found = small_run(diagnosis, diagnosis.Config(depth=8, width=64, steps=150, **few))
    assert all(claim.verdict == "holds" for name, claim in found.items() if "share" in name)
    assert found["logistic: verdict of vanishing"].verdict == "holds"
    assert found["critical tanh: verdict of vanishing"].verdict == "holds"
    zero = next(claim for name, claim in found.items() if "jax.nn" in name)
    assert zero.measured == -np.inf
