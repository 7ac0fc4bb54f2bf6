r"""One time step of a GRU or an LSTM as a map of its state: the rows of its Jacobian in closed form.

Row i is a sum of a few fixed vectors: the unit's own direction e_i, and its row of the recurrent weights in each gate. Only their
factors change from sample to sample. With gates r, z and candidate n, :math:`h'_i = (1 - z_i)\,n_i + z_i h_i` has the row

.. math:: z_i\,e_i + (h_i - n_i)\,z_i(1 - z_i)\,w^z_i
    + (1 - z_i)(1 - n_i^2)\,\big[r_i\,w^n_i + a_i\,r_i(1 - r_i)\,w^r_i\big], \qquad a_i = w^n_i \cdot h + \theta^n_i

and the squared length follows from the products of these vectors with each other.
"""

import torch
from torch import Tensor, nn

from .maps import root

GATED = (nn.GRU, nn.LSTM, nn.GRUCell, nn.LSTMCell)


def cell_parameters(module: nn.Module, layer: int | None) -> list[nn.Parameter | None]:
    """weight_ih, weight_hh, bias_ih and bias_hh of one layer, or of a cell (None); without biases None."""
    end = "" if layer is None else f"_l{layer}"
    return [getattr(module, f"{name}{end}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def squared_length(factors: list[Tensor], vectors: list[Tensor]) -> Tensor:
    """The squared length (S, N) of Σ_k factor_k · vector_k, with factors (S, N) and vectors (N, M)."""
    squares = 0.0
    for k, (factor, vector) in enumerate(zip(factors, vectors, strict=True)):
        squares = squares + factor.square() * vector.square().sum(-1)
        for other, further in zip(factors[k + 1 :], vectors[k + 1 :], strict=True):
            squares = squares + 2 * factor * other * (vector * further).sum(-1)
    return squares.clamp_min(0.0)


def _gru_squares(state: Tensor, drive: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    recurrent = state @ weight.mT + bias
    (r_x, z_x, n_x), (r_h, z_h, n_h) = drive.chunk(3, -1), recurrent.chunk(3, -1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + r * n_h)
    through = (1 - z) * (1 - n.square())
    factors = [z, (state - n) * z * (1 - z), through * r, through * n_h * r * (1 - r)]
    by_reset, by_update, by_candidate = weight.chunk(3, 0)
    return squared_length(factors, [torch.eye(len(by_reset)).to(weight), by_update, by_candidate, by_reset])


def _lstm_squares(state: Tensor, drive: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    hidden, cell = state.chunk(2, -1)
    i, f, g, o = (drive + hidden @ weight.mT + bias).chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    after = torch.tanh(f * cell + i * g)
    by_input, by_forget, by_candidate, by_output = weight.chunk(4, 0)
    # The row of c' by (h, c): its own direction among the cells, and three rows among the hidden units.
    own = f.square()
    inside = [i * (1 - i) * g, f * (1 - f) * cell, (1 - g.square()) * i]
    vectors = [by_input, by_forget, by_candidate]
    of_cell = own + squared_length(inside, vectors)
    through = o * (1 - after.square())
    of_hidden = (through * f).square() + squared_length([*(through * one for one in inside), o * (1 - o) * after],
                                                        [*vectors, by_output])  # fmt: skip
    return torch.cat([of_hidden, of_cell], -1)


class GatedMap:
    """h -> h' of a GRU, (h, c) -> (h', c') of an LSTM; the inputs are the state and the layer's input side by side."""

    row_parameters = False

    def __init__(self, module: nn.Module, layer: int | None) -> None:
        self._module, self._layer = module, layer
        self.parameters = tuple(part for part in cell_parameters(module, layer)[1::2] if part is not None)
        self.squares_of = _lstm_squares if isinstance(module, nn.LSTM | nn.LSTMCell) else _gru_squares
        self.units = module.hidden_size * (2 if isinstance(module, nn.LSTM | nn.LSTMCell) else 1)

    def sensitivities(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s and s² (S, N) of the units of the state, exact."""
        by_input, by_state, *biases = (None if one is None else one.to(inputs.dtype)
                                       for one in cell_parameters(self._module, self._layer))  # fmt: skip
        state, below = inputs[..., : self.units], inputs[..., self.units :]
        input_bias, state_bias = (by_state.new_zeros(len(by_state)) if bias is None else bias for bias in biases)
        squares = self.squares_of(state, below @ by_input.mT + input_bias, by_state, state_bias)
        return root(squares), squares
