"""Every partial derivative of the functions of several arguments, at drawn points."""

import numpy as np
import pytest

from experiments.oracle import bounds
from experiments.oracle.joints import JOINTS
from experiments.oracle.partials import errors, evaluate, multi_indices, truths
from tests.partials import POINTS, assert_forward_mode_within_bounds, assert_within_bounds


@pytest.mark.sampled(14)
@pytest.mark.parametrize("dtype", bounds.JOINT_ULP)
@pytest.mark.parametrize("name", JOINTS)
def test_partial_derivatives_to_the_second_order(name, dtype):
    assert_within_bounds(JOINTS[name], dtype)


# float32 numbers at which one step of the arithmetic is at its limit
LIMITS = {
    "logaddexp": [
        (13.3, -1.38e-05),  # a - b is rounded in the tail
        (-0.693147182, -0.693147182),  # root
        (3e38, -3e38),  # a - b overflows
    ],
    "logsubexp": [
        (2e-38, 1.9e-38),  # a - b is subnormal
        (0.69, -0.0063),  # next to a root
        (3e38, -3e38),
    ],
    "log_sigmoid_diff": [
        (88.0, 1e-8),  # two subnormal terms of a normal derivative
        (88.0, -88.0),
        (2e-38, 1.9e-38),
    ],
    "soft_switch": [
        (0.3, -6.544910430908203, -6.544910907745361),  # on and off are near each other
        (-150.0, 1e38, 1.0),  # a subnormal weight of a huge value
        (150.0, 2.0, 1e38),
        (1.0, 3.4e38, -3.4e38),  # on - off overflows
        (1.2e-38, 1.0, 1e30),  # a curvature that vanishes with x
        (0.1, 1.3e-38, 1.2e-38),
        (1.175e-38, 1.28e-38, 1.176e-38),
    ],
    "bounded_sigmoid": [(0.0, -3e38, 3e38), (-20.0, 0.0, 1.0), (20.0, -1.0, 0.0)],
    "bounded_logit": [
        (0.500001, 0.0, 1.0),
        (0.0, -0.3, 0.3),
        (1.0, -3e38, 3e38),
        (1.5e-38, 1.2e-38, 1.0),
        (1.7e38, -3.4e38, 1.0),
        (1.25e-38, 1.2e-38, 1.3e-38),
    ],
    "bounded_sigmoid_log_det": [
        (9.9e-11, -0.7, 0.6),
        (0.01, 0.0, 4.0),  # next to a root
        (60.0, 0.0, 1.14e26),
        (1.0, 1.2e-38, 1.3e-38),
        (-87.8, -0.144, 0.119),  # twice a subnormal derivative
    ],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LIMITS)
def test_float32_at_the_limits_of_the_arithmetic(name):
    joint = JOINTS[name]
    orders = multi_indices(joint.arguments)
    points = np.float32(LIMITS[name]).astype(np.float64)
    points = np.resize(points, (POINTS, joint.arguments))  # the program of the test above
    jet = truths(joint, points)
    for each, result in zip(orders, evaluate(joint, "float32", points, orders), strict=True):
        found = errors(joint, "float32", points, jet, each, result)
        assert not found.wrong.any(), (each, points[found.wrong][0])
        where = int(np.argmax(found.ulp))
        assert found.ulp[where] <= bounds.JOINT_ULP["float32"][sum(each)], (each, points[where])


@pytest.mark.parametrize("name", ["logaddexp", "soft_switch"])
def test_forward_mode_keeps_the_digits_of_reverse_mode(name):
    assert_forward_mode_within_bounds(JOINTS[name])
