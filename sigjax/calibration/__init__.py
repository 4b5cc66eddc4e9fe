"""Scores and logits turned into probabilities that mean what they say, and how to tell."""

from ._platt import PlattScaling as PlattScaling
from ._platt import fit_platt as fit_platt
from ._reliability import ReliabilityCurve as ReliabilityCurve
from ._reliability import expected_calibration_error as expected_calibration_error
from ._reliability import reliability_curve as reliability_curve
from ._temperature import TemperatureScaling as TemperatureScaling
from ._temperature import fit_temperature as fit_temperature
