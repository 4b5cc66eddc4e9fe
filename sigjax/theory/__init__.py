"""What theory predicts for the gradients of a random network."""

from ._bounds import sigmoid_gradient_bound as sigmoid_gradient_bound
from ._critical import CriticalPoint as CriticalPoint
from ._critical import critical_line as critical_line
from ._critical import critical_weight_std as critical_weight_std
from ._gaussian import gaussian_expectation as gaussian_expectation
from ._gaussian import hermite_coefficients as hermite_coefficients
from ._jacobian import JacobianMoments as JacobianMoments
from ._jacobian import jacobian_density as jacobian_density
from ._jacobian import jacobian_moments as jacobian_moments
from ._learning_curve import saxe_curve as saxe_curve
from ._learning_curve import saxe_half_time as saxe_half_time
from ._mean_field import MeanField as MeanField
from ._mean_field import mean_field as mean_field
from ._profile import GradientProfile as GradientProfile
from ._profile import gradient_profile as gradient_profile
