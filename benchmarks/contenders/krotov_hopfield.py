"""Updates of Krotov–Hopfield layers, as 6 replicas in place, and as the source's code writes the rule."""

from benchmarks import problems

P, RANK, DELTA, LR = 3.0, 2, 0.4, 0.04


def _given(problem: dict, device: str):
    """Start weights (R, units, D) and batches (repeats, R, B, D)."""
    import torch

    return (torch.from_numpy(array).to(device) for array in problems.competing_units(problem))


def replicas(problem: dict, device: str = "cpu"):
    """salnb: all layers at once, with the checks of the images that ``step`` makes."""
    from salnb.representations.krotov_hopfield import KrotovHopfieldLayer

    weight, batches = _given(problem, device)
    layer = KrotovHopfieldLayer(problem["inputs"], problem["units"], p=P, rank=RANK, delta=DELTA, replicas=(len(weight),),
                                device=device, dtype=weight.dtype)  # fmt: skip
    layer.weight.copy_(weight)

    def run(round: int = 0) -> dict:
        for batch in batches:
            layer.step(batch, LR)
        return {"weight": layer.weight.cpu().numpy().copy()}

    return run


def _plainly(weight, images):
    """The rule as it is written, in place: all products, with a matrix g that is 0 but for two entries a row."""
    import torch

    drive = images @ (weight.sign() * weight.abs() ** (P - 1)).mT
    order = drive.topk(RANK, dim=-1).indices
    g = torch.zeros_like(drive).scatter_(-1, order[..., :1], 1.0).scatter_(-1, order[..., RANK - 1 :], -DELTA)
    change = g.mT @ images - (g * drive).sum(-2).unsqueeze(-1) * weight
    weight += LR * change / change.abs().amax((-2, -1), keepdim=True).clamp_min(1e-9)


def plainly(problem: dict, device: str = "cpu", together: bool = True):
    """The rule as it is written; ``together``: for all layers in batched products, else for one layer after the other."""
    weight, batches = _given(problem, device)

    def run(round: int = 0) -> dict:
        for batch in batches:
            if together:
                _plainly(weight, batch)
            else:
                for one, images in zip(weight, batch, strict=True):
                    _plainly(one, images)
        return {"weight": weight.cpu().numpy().copy()}

    return run
