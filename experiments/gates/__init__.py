"""Sigmoids that open and close a path: memory, attention to channels, low precision."""

EXPERIMENTS = (
    "recurrent_gates",
    "gates_low_precision",
    "squeeze_excite",
    "attention_gates",
    "linear_gates",
    "routing",
    "soft_switch",
    "speed_gates",
)
