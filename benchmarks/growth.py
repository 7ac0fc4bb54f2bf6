"""How the cost of a spectrum grows with N, T, k and the number of replicas: salnb alone, seconds of one core."""

import statistics

from benchmarks.worker import Libraries

BASE = dict(n=128, gain=2.0, steps=50, k=1, replicas=1, seed=0)
SERIES = {
    "N, full spectrum": [dict(BASE, n=n, k=n, steps=100) for n in (32, 64, 128, 256, 512)],
    "T, full spectrum, N = 64": [dict(BASE, n=64, k=64, steps=t) for t in (100, 200, 400, 800, 1600)],
    "k, N = 256": [dict(BASE, n=256, k=k, steps=100) for k in (1, 2, 4, 8, 16, 32, 64, 128, 256)],
    "replicas, k = 1, N = 128": [dict(BASE, steps=200, replicas=r) for r in (1, 4, 16, 64, 256)],
    "replicas, k = 8, N = 128": [dict(BASE, k=8, steps=100, replicas=r) for r in (1, 4, 16, 64)],
}
VARIED = {"N": "n", "T": "steps", "k": "k", "r": "replicas"}


def varied(name: str) -> str:
    """Which entry of the problem a series varies.

    >>> varied("replicas, k = 1, N = 128")
    'replicas'
    """
    return VARIED[name[0]]


def measure_growth(libraries: Libraries, repeats: int = 3, say=lambda text: None) -> dict:
    """{series: {"x": what is varied, "seconds": median of the repeats, "problem": the first point's}}."""
    worker, found = libraries["salnb"], {}
    for name, problems in SERIES.items():
        seconds = []
        for problem in problems:
            say(f"{name}: {problem[varied(name)]}")
            worker.ask("set up", name, "ours:replicas", {}, problem)
            worker.ask("run", name, 0)
            seconds.append(statistics.median(worker.ask("run", name, i)[0] for i in range(repeats)))
        found[name] = {"x": [problem[varied(name)] for problem in problems], "seconds": seconds, "problem": problems[0]}
    return found
