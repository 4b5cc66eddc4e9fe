"""The sigmoid as a probability: losses, calibration, several labels, logic."""

EXPERIMENTS = (
    "logistic_regression",
    "bce_pairing",
    "prior_init",
    "multi_label",
    "platt_scaling",
    "platt_speed",
    "pairwise_memory",
    "preferences",
    "logic_gates",
)
