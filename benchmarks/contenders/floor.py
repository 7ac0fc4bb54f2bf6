"""What no program of this kind goes below: at every step the product of the weights with all states and tangents.

It has no answer and takes no part in the ratio. Beside the others' times it says how much of them is arithmetic.
"""

from benchmarks import problems


def products(problem: dict, device: str = "cpu", dtype: str = "float32"):
    """One product (2 R, N) times (N, N) per step, R trajectories or gains with a tangent each, in memory of its own."""
    import torch

    systems, steps = problem.get("gains") or problem["trajectories"], problem["steps"] + problem.get("warmup", 0)
    columns = torch.as_tensor(problems.weights(problem), dtype=getattr(torch, dtype), device=device).mT.contiguous()
    rows = columns.new_ones((2 * systems, len(columns)))
    out = torch.empty_like(rows)

    def run(round: int = 0) -> dict:
        for _ in range(steps):
            torch.mm(rows, columns, out=out)
        return {}

    return run
