"""Flax NNX modules: networks of sigmoids and gates that keep learning in low precision."""

from ._bidirectional import Bidirectional as Bidirectional
from ._gated_attention import GatedAttention as GatedAttention
from ._gru import GRUCell as GRUCell
from ._gru import GRUGates as GRUGates
from ._heads import MultiLabelHead as MultiLabelHead
from ._load_weights import load_weights as load_weights
from ._lstm import LSTMCell as LSTMCell
from ._lstm import LSTMGates as LSTMGates
from ._min_gru import MinGRU as MinGRU
from ._min_gru import MinGRUGates as MinGRUGates
from ._min_gru import positive_candidate as positive_candidate
from ._mlp import MLP as MLP
from ._neuron import SigmoidNeuron as SigmoidNeuron
from ._recurrent_block import RecurrentBlock as RecurrentBlock
from ._rg_lru import RGLRU as RGLRU
from ._rg_lru import RGLRUGates as RGLRUGates
from ._rnn import RNN as RNN
from ._sigmoid_attention import SigmoidAttention as SigmoidAttention
from ._sigmoid_attention import dot_product_sigmoid_attention as dot_product_sigmoid_attention
from ._squeeze_excite import SqueezeExcite as SqueezeExcite
from ._switch import Highway as Highway
from ._switch import SoftSwitch as SoftSwitch
