"""The sigmoid itself: its values, its slope, how fast they are, and what sums of it can draw."""

EXPERIMENTS = ("accuracy", "certify", "speed", "linear_heart", "universal_approximation")
