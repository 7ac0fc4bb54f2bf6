r"""A Linear or convolution, a normalization or none, and an activation: the rows of their Jacobian in closed form.

Behind a LayerNorm with :math:`\hat u = (U - \bar U)\,r`, where :math:`r = 1/\sqrt{\mathrm{var}(U) + \varepsilon}`, unit i has
the row

.. math:: f'(\gamma_i \hat u_i + \beta_i)\,\gamma_i\,r\,\big(w_i - \bar w - \hat u_i\,\tfrac1N \textstyle\sum_k \hat u_k w_k\big)

whose length needs the products of the weights' rows with each other, N × N numbers, and no row itself. For RMSNorm the means are
left out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from ...sensitivity.activations import Activation
from ..layers import WatchedLayer
from .maps import root, slope_of
from .normalization import Normalization


def normalized_rows(
    weight: Tensor, pre_activation: Tensor, norm: Normalization, activation: Activation
) -> tuple[Tensor, Tensor]:
    """|f'(V) γ r| and the squared length of the rest of the row, each (S, N), for U (S, N) and weights (N, M)."""
    centered = norm.kind == "layer"
    u, n = pre_activation, pre_activation.shape[-1]
    weight = weight - weight.mean(0) if centered else weight
    u = u - u.mean(-1, keepdim=True) if centered else u
    scale = torch.rsqrt(u.square().mean(-1, keepdim=True) + norm.eps)
    u = u * scale
    v = u if norm.weight is None else u * norm.weight.to(u.dtype)
    v = v if norm.bias is None else v + norm.bias.to(u.dtype)
    products = weight @ weight.mT
    along = u @ products / n  # w_i · m with m = Σ_k û_k w_k / N
    length = (along * u).sum(-1, keepdim=True) / n  # m · m
    squares = products.diagonal() - 2 * u * along + u.square() * length
    factor = slope_of(v, activation) * scale
    factor = factor if norm.weight is None else factor * norm.weight.to(u.dtype)
    return factor.abs(), squares.clamp_min(0.0)


class LinearMap:
    """x -> f(norm(W x + θ)); the weight may be computed from other parameters (a parametrization), which are then moved."""

    def __init__(self, layer: WatchedLayer, norm: Normalization | None, activation: Activation) -> None:
        module = layer.module
        self.layer, self.module, self.norm, self.activation = layer, module, norm, activation
        own = [layer.weight, *module.parameters(), *([] if norm is None else norm.parameters)]
        self.parameters = tuple({id(parameter): parameter for parameter in own}.values())
        self.row_parameters, self.units = not layer.only_measured, layer.weight.shape[0]

    def weight(self) -> Tensor:
        """The weight in force, differentiable by what it is computed from. A spectral norm does not go on iterating."""
        if not self.layer.only_measured:
            return self.layer.weight if self.layer.mask is None else self.layer.weight * self.layer.mask
        modes = {part: part.training for part in self.module.parametrizations.weight}
        try:
            for part in modes:
                part.eval()
            return self.module.weight
        finally:
            for part, training in modes.items():
                part.train(training)

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """U (S, places..., N)."""
        weight, bias = self.weight().to(inputs.dtype), self.module.bias
        bias = None if bias is None else bias.to(inputs.dtype)
        if self.layer.is_convolution:
            return self.module._conv_forward(inputs, weight, bias).movedim(1, -1)
        return F.linear(inputs, weight, bias)

    def slopes(self, inputs: Tensor) -> Tensor:
        """|f'| (S, places..., N), of what goes into the activation."""
        u = self.pre_activations(inputs)
        if self.norm is None:
            return self.activation.slope(u).abs()
        v = F.layer_norm(u, u.shape[-1:], self.norm.weight, self.norm.bias, self.norm.eps) if self.norm.kind == "layer" else (
            F.rms_norm(u, u.shape[-1:], self.norm.weight, self.norm.eps))  # fmt: skip
        return self.activation.slope(v).abs()

    def sensitivities(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s and s² (S, places..., N), exact."""
        u, weight = self.pre_activations(inputs), self.weight().to(inputs.dtype).flatten(1)
        if self.norm is None:
            found = slope_of(u, self.activation).abs() * root(weight.square().sum(-1))
            return found, found.square()
        factor, squares = normalized_rows(weight, u, self.norm, self.activation)
        return factor * root(squares), factor.square() * squares

