"""Attention whose weights are sigmoids: each key is seen, or not, whatever the others are."""

from ._dot_product import dot_product_sigmoid_attention as dot_product_sigmoid_attention
from ._module import SigmoidAttention as SigmoidAttention
