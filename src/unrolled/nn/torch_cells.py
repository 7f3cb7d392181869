"""The cells that ``torch.nn``'s three modules run, and torch's names for their parameters."""

from __future__ import annotations

from unrolled.cells import gru, lstm, lstm_projected, rnn

BIASED = {
    ("RNN_TANH", False): rnn,
    ("RNN_RELU", False): rnn.bind(nonlinearity="relu"),
    ("GRU", False): gru,
    ("LSTM", False): lstm,
    ("LSTM", True): lstm_projected,
}
"""The cell for each mode of ``torch.nn.RNNBase``, without and with projection."""

UNBIASED = {key: cell.bind(b_ih=0.0, b_hh=0.0) for key, cell in BIASED.items()}

TORCH_NAMES = {
    "W_ih": "weight_ih",
    "W_hh": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "W_hr": "weight_hr",
}
"""What ``torch.nn`` calls the cells' parameters."""
