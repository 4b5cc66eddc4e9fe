"""Every partial derivative of the losses, at drawn points and next to roots."""

import pytest

from experiments.numerics import floors
from experiments.numerics.loss_joints import LOSS_JOINTS
from experiments.numerics.partials import hunt, multi_indices

POINTS = 160  # in each of two rounds
CASES = [(name, dtype) for name in LOSS_JOINTS for dtype in floors.JOINT_ULP]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_partial_derivatives_to_the_second_order(name, dtype):
    joint = LOSS_JOINTS[name]
    # In 16 bits a second derivative is float32's, rounded as the first is.
    orders = multi_indices(joint.arguments, 1 if dtype.endswith("16") else 2)
    for each, found in hunt(joint, dtype, POINTS, orders=orders).items():
        assert found.wrong == 0, (each, found)
        assert found.ulp <= floors.JOINT_ULP[dtype][sum(each)], (each, found)


def test_forward_mode_keeps_the_digits_of_reverse_mode():
    joint = LOSS_JOINTS["sigmoid_binary_cross_entropy"]
    for each, found in hunt(joint, "float32", 160, 0, mode="forward").items():
        assert found.wrong == 0, (each, found)
        assert found.ulp <= floors.JOINT_ULP["float32"][sum(each)], (each, found)
