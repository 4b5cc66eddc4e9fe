"""What is asked of every function of several arguments and of every loss."""

from experiments.oracle import bounds
from experiments.oracle.partials import Joint, hunt, multi_indices

POINTS = 160  # in each of two rounds


def assert_within_bounds(joint: Joint, dtype: str) -> None:
    """Hunts for the worst error of every partial derivative, reverse mode's."""
    # In 16 bits a second derivative is float32's, rounded as the first is.
    orders = multi_indices(joint.arguments, 1 if dtype.endswith("16") else 2)
    _judge(dtype, hunt(joint, dtype, POINTS, orders=orders))


def assert_forward_mode_within_bounds(joint: Joint) -> None:
    """The same of forward mode in float32, one round."""
    _judge("float32", hunt(joint, "float32", POINTS, 0, mode="forward"))


def _judge(dtype: str, worst: dict) -> None:
    for orders, found in worst.items():
        assert found.wrong == 0, (orders, found)
        assert found.ulp <= bounds.JOINT_ULP[dtype][sum(orders)], (orders, found)
