"""Boolean functions of one neuron."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from experiments.probability import logic_gates


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(logic_gates, logic_gates.Config(network_steps=2500))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())


def test_threshold_functions_are_those_that_a_linear_program_separates():
    # an oracle that knows nothing of integer weights
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    count = 0
    for table in itertools.product((-1, 1), repeat=8):
        signed = np.array(table)[:, None] * np.hstack([corners, np.ones((8, 1))])
        program = scipy.optimize.linprog(
            np.zeros(4), A_ub=-signed, b_ub=-np.ones(8), bounds=[(None, None)] * 4
        )
        count += program.status == 0
    assert count == logic_gates.threshold_functions(3) == 104
