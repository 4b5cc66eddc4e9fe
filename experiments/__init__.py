"""Every figure, held to numbers: `python -m experiments list`."""

THEMES = ("functions", "depth", "gates", "probability", "switch")
