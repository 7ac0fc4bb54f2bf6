"""A flow as a step function: the classical Runge–Kutta method."""

from collections.abc import Callable
from numbers import Real

from torch import Tensor

Field = Callable[..., Tensor]


def rk4_step(field: Field, dt: float) -> Callable[..., Tensor]:
    r"""The step of a flow dx/dt = F(x) over a time dt, by the classical Runge–Kutta method of order 4.

    .. math:: x(t + dt) = x + \tfrac{dt}{6}\,(k_1 + 2 k_2 + 2 k_3 + k_4), \qquad k_1 = F(x),\ k_2 = F(x + \tfrac{dt}{2} k_1),\
        k_3 = F(x + \tfrac{dt}{2} k_2),\ k_4 = F(x + dt\,k_3)

    Give the same dt to ``lyapunov_spectrum(step, x, dt=dt)``: its exponents are then in nats per unit of time.

    Every other integrator that PyTorch can differentiate is a step as well. With torchdiffeq, whose fields are F(t, x)::

        times = torch.tensor([0.0, dt], dtype=x.dtype)
        step = lambda x: odeint(lambda t, x: field(x), x, times)[-1]

    Its ``dopri5`` chooses its own steps. Keep its fine default tolerance: under a coarse one (``rtol=1e-3``) neighbors take other
    steps, so that the result bends more than its derivative knows, and the run is refused. It is differentiated backward, one
    number of the state after the other, and so are ``odeint_adjoint`` and other adaptive methods. Methods of fixed steps, such as
    ``method="rk4"``, are differentiated forward, and serve ``finite_time_exponents(..., create_graph=True)`` too. Its
    ``scipy_solver`` leaves PyTorch, and needs ``jvp="finite-difference"``. The systems of a batch share adaptive steps.

    Args:
        field: F(x) for x (..., N), or F(x, u) with an input u that stays the same during the step; (..., N).
        dt: the time of a step, not 0; negative runs backward.

    Returns:
        ``step(x)`` or ``step(x, u)``, (..., N) -> (..., N), differentiable, for any number of systems at once.

    Raises:
        TypeError, ValueError: a field that cannot be called, a dt that is no finite number or 0.

    Source: Kutta 1901.

    Example:
        >>> import torch
        >>> step = rk4_step(lambda x: -x, dt=0.1)
        >>> step(torch.ones(1, dtype=torch.float64)) - torch.exp(torch.tensor([-0.1], dtype=torch.float64)) < 1e-6
        tensor([True])
    """
    if not callable(field):
        raise TypeError(f"field: got {type(field).__name__}, expected a function F(x) -> dx/dt")
    if not isinstance(dt, Real) or isinstance(dt, bool):
        raise TypeError(f"dt: got {dt!r}, expected a number")
    if not abs(dt) < float("inf") or dt == 0:
        raise ValueError(f"dt: got {dt!r}, expected a finite time other than 0")
    dt = float(dt)  # a number of NumPy's in float64 would turn a state in float32 into one in float64

    def step(state: Tensor, *inputs: Tensor) -> Tensor:
        first = field(state, *inputs)
        second = field(state + dt / 2 * first, *inputs)
        third = field(state + dt / 2 * second, *inputs)
        fourth = field(state + dt * third, *inputs)
        return state + dt / 6 * (first + 2 * second + 2 * third + fourth)

    return step
