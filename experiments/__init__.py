"""Every figure, held to numbers: `python -m experiments list`."""
