"""The sigmoid itself: its values, its slope, how fast they are, and what sums of it can draw."""

EXPERIMENTS = (
    "sigmoid_and_slope",
    "linear_heart",
    "accuracy",
    "certify",
    "speed",
    "universal_approximation",
)
