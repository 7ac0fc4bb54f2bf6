"""Networks with many independent replicas in one tensor (deep, recurrent, gated), and any recurrent network as a step function.

Used by every chapter but *One neuron*.
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
