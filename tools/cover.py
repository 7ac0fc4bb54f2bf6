"""The book's cover: a network wakes up, one line for each moment. Drawn by this code from a run of the library.

.venv/bin/python -m tools.cover      writes book/web/cover.svg and book/web/cover-dark.svg

A hundred neurons start with weights so small that every signal dies; SAL acts between one line and the next. Each line is the
activity of one neuron over eighty time steps: flat at the top, where the network is dead, and alive at the bottom, at the edge.
"""

from __future__ import annotations

import torch

from salnb import SAL, TanhRNN
from tools.tree import ROOT, write_text

LINES, STEPS, BETWEEN = 26, 80, 30  # lines of the picture, time steps of each, passes of SAL between two
WIDTH, GAP, HEIGHT = 400, 9.5, 15  # of the picture, between two lines, and of the highest wave
INKS = {"cover": ("#24292e", "#b8470f"), "cover-dark": ("#d7dade", "#f08c4e")}


@torch.no_grad()
def waking(seed: int = 19) -> torch.Tensor:
    """(LINES, STEPS): the activity of the neuron that moves most at the end, from dead to awake; a network with slow waves."""
    generator = torch.Generator().manual_seed(seed)
    rnn = TanhRNN(1, 100, 0, gain=0.1, generator=generator)
    sal, state, seen = SAL(rnn), torch.zeros(1, 100), []
    for passed in range(BETWEEN * (LINES - 1) + 1):
        if passed % BETWEEN == 0:
            seen.append(rnn(0.1 * torch.randn(200, 1, 1, generator=generator), state)[1][-STEPS:, 0])
        state = rnn(0.1 * torch.randn(5, 1, 1, generator=generator), state)[1][-1]
        sal.step()
    activity = torch.stack(seen)
    return activity[:, :, activity[-1].var(0).argmax()]


def picture(activity: torch.Tensor, ink: str, awake: str) -> str:
    """The lines as SVG, one below the other; the last ones, where the network is awake, in the color of sensitivity."""
    swing = (activity - activity.mean(1, keepdim=True)) / activity.abs().max()
    x = torch.linspace(10, WIDTH - 10, activity.shape[1])
    tall = GAP * (len(activity) - 1) + 2 * HEIGHT
    paths = []
    for number, line in enumerate(swing):
        y = HEIGHT + GAP * number - HEIGHT * line
        points = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
        color = awake if number >= 0.8 * len(swing) else ink
        paths.append(f'<path d="M{points}" stroke="{color}"/>')
    lines = "\n".join(paths)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall:.0f}" fill="none" stroke-width="1.6" '
            f'stroke-linejoin="round" stroke-linecap="round">\n{lines}\n</svg>\n')  # fmt: skip


def main() -> None:
    """Write both covers."""
    activity = waking()
    for name, (ink, awake) in INKS.items():
        write_text(ROOT / "book/web" / f"{name}.svg", picture(activity, ink, awake))


if __name__ == "__main__":
    main()
