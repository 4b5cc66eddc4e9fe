"""Flax NNX modules: networks of sigmoids and gates that keep learning in low precision."""

from ._gru import GRUCell as GRUCell
from ._gru import GRUGates as GRUGates
from ._lstm import LSTMCell as LSTMCell
from ._lstm import LSTMGates as LSTMGates
from ._min_gru import MinGRU as MinGRU
from ._min_gru import MinGRUGates as MinGRUGates
from ._min_gru import positive_candidate as positive_candidate
from ._rnn import RNN as RNN
