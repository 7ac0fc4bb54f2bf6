"""Which device a chapter runs on, and at which size: said before anything is computed."""

import os

import torch


def runtime(
    paper_scale: bool | None = None, *, minutes: float | None = None, gpu_minutes: float | None = None
) -> torch.device:
    """Chooses the device of a chapter's long computations, the GPU if there is one, and says what to expect.

    The environment variable SALNB_DEVICE ("cpu", "cuda", "cuda:1") overrides the choice.

    Args:
        paper_scale: the chapter's own switch ``PAPER_SCALE``: True if it is to run at the size of the paper or of the stored
            runs, False for a size that suits a page. None for a chapter that has one size only.
        minutes: how long the larger size takes on two CPU cores. gpu_minutes: the same on a GPU, if measured.

    Returns:
        the device, for ``module.to(device)`` and ``tensor.to(device)``.

    Raises:
        TypeError: a switch that is not True or False. ValueError: a switch without ``minutes`` or the other way round, minutes
        that are not positive, or a device in SALNB_DEVICE that PyTorch does not know or this machine does not have.

    Example:
        >>> runtime(False, minutes=40).type in ("cpu", "cuda")  # doctest: +ELLIPSIS
        Runs on the ...
        PAPER_SCALE = True runs larger: about 40 min on two CPU cores, on a GPU not measured.
        True
    """
    if paper_scale is not None and not isinstance(paper_scale, bool):
        raise TypeError(f"PAPER_SCALE: got {paper_scale!r}, expected True or False")
    if (paper_scale is None) != (minutes is None):
        raise ValueError("minutes: expected with the switch paper_scale, and without it not; got one of the two")
    for name, value in (("minutes", minutes), ("gpu_minutes", gpu_minutes)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}: got {value!r}, expected a positive number of minutes")
    device = _chosen()
    place = "CPU" if device.type == "cpu" else f"GPU ({_name(device)})"
    if paper_scale is None:
        print(f"Runs on the {place}.")
        return device
    on_cpu = f"about {minutes:g} min on two CPU cores"
    on_gpu = f"about {gpu_minutes:g} min on a GPU" if gpu_minutes is not None else "on a GPU not measured"
    if not paper_scale:
        print(f"Runs on the {place}, at the size of this page.\nPAPER_SCALE = True runs larger: {on_cpu}, {on_gpu}.")
    elif device.type == "cpu":
        print(f"Runs on the CPU at the larger size: {on_cpu}. Where there is a GPU, it is used ({on_gpu}).")
    else:
        print(f"Runs on the {place} at the larger size: {on_gpu}, {on_cpu}.")
    return device


def _chosen() -> torch.device:
    """The GPU if there is one, unless SALNB_DEVICE says otherwise."""
    asked = os.environ.get("SALNB_DEVICE", "")
    if not asked:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'SALNB_DEVICE: got {asked!r}, expected a device of this machine, such as "cpu": {error}') from error
    return device


def _name(device: torch.device) -> str:
    """What the GPU calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
