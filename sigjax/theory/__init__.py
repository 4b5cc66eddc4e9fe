"""What theory predicts for the gradients of a random network."""

from ._gaussian import gaussian_expectation as gaussian_expectation
from ._mean_field import MeanField as MeanField
from ._mean_field import critical_weight_std as critical_weight_std
from ._mean_field import mean_field as mean_field
