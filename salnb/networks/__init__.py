"""The library's own networks, each as many independent replicas in one tensor, and networks as step functions.

Used by nearly every chapter: deep tanh networks, recurrent tanh networks (flat or a ring of layers), ReLU, GRU and LSTM networks.
"""

from .deep import DeepNet
from .gated import CellRNN
from .linear import ReplicaLinear
from .recurrent import TanhRNN
from .steps import rnn_step

__all__ = [
    "CellRNN",
    "DeepNet",
    "ReplicaLinear",
    "TanhRNN",
    "rnn_step",
]
