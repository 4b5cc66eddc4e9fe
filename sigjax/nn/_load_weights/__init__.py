"""Weights that another framework trained."""

from ._load import load_weights as load_weights
