"""Losses of a sigmoid's logits, drop-in for optax's."""

from ._cross_entropy import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from ._focal import sigmoid_focal_loss as sigmoid_focal_loss
from ._odds_ratio import odds_ratio_preference_loss as odds_ratio_preference_loss
from ._pairwise import sigmoid_pairwise_loss as sigmoid_pairwise_loss
from ._preference import preference_loss as preference_loss
from ._sequence_log_prob import sequence_log_prob as sequence_log_prob
from ._squared_error import squared_error_on_sigmoid as squared_error_on_sigmoid
