"""Gradients through many layers: where they vanish, why, and what keeps them alive."""

EXPERIMENTS = (
    "gradient_depth",
    "mean_field",
    "isometry",
    "saturation",
    "batch_norm",
    "learning_curve",
    "diagnosis",
    "scaling",
    "speed_depth",
)
