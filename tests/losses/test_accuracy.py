"""Every partial derivative of the losses, at drawn points and next to roots."""

import pytest

from experiments.oracle import bounds
from experiments.oracle.loss_joints import LOSS_JOINTS
from tests.partials import assert_forward_mode_within_bounds, assert_within_bounds

pytestmark = pytest.mark.usefixtures("optimized")


@pytest.mark.sampled(10)
@pytest.mark.parametrize("dtype", bounds.JOINT_ULP)
@pytest.mark.parametrize("name", LOSS_JOINTS)
def test_partial_derivatives_to_the_second_order(name, dtype):
    assert_within_bounds(LOSS_JOINTS[name], dtype)


def test_forward_mode_keeps_the_digits_of_reverse_mode():
    assert_forward_mode_within_bounds(LOSS_JOINTS["sigmoid_binary_cross_entropy"])
