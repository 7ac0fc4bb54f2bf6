"""The runs behind the last verdict: does SAL, by its local rule alone, beat a spectral radius that was tuned?

XOR of two pulses 300 steps apart, at each of three rates of Adam. First *selection*: at each rate five gains and three
orthogonal starts, on networks that judge nothing. Then *judgement*, on other networks: SAL by the local rule, SAL before
learning only, SAL with the clause; the selected gain, alone and with that same clause; the selected orthogonal start; and a start
whose rows were divided once by their sensitivity. One rate decides: the one at which the selected gain held most in selection;
there the two contestants of the claim get more networks. The rule that turns the numbers into verdicts is in
``book/claims.toml`` and was committed before these runs.
"""

from collections.abc import Callable, Iterator
from zlib import crc32

from .held_accuracy import count_held, first_success
from .plan import FALLING, TUNED_RADIUS, Job

FILE = TUNED_RADIUS
RATES = (1e-4, 3e-4, 1e-3)
GAINS, ORTHOGONAL = (1.0, 1.05, 1.1, 1.2, 1.3), (1.0, 1.05, 1.1)
SELECTING, JUDGING = 16, 32  # networks of a start, and of an arm at each rate
DECIDING = 64  # further networks of each contestant at the rate that decides
USUAL_RATE, USUAL_GAIN = 3e-4, 1.1  # what a tie is decided by: the nearer one
SUCCESS = 0.98
CONTESTANTS = ("local SAL", "tuned gain")
NO_SAL = dict(sal=False)
# Afterwards, at the rate that decides: a tuned gain that starts again, and settings of their own with a gain chosen there.
RESTARTING = dict(NO_SAL, restart_every=750)
OTHERS = {"128 neurons": dict(n_hidden=128), "a lag of 250 to 350": dict(task="varied_xor", lag=350),
          "three pulses": dict(task="lagged_parity")}  # fmt: skip
OTHER_GAINS, OTHER_SELECTING, OTHER_JUDGING = (1.0, 1.1, 1.2), 8, 16
OTHER_ARMS = ("local SAL", "tuned gain", "SAL before only", "tuned gain with the clause")
Read = Callable[[str], dict]


def seeded(name: str, settings: dict) -> tuple[str, dict]:
    """A run with a seed that depends on its name alone."""
    return name, {"seed": crc32(f"{FILE}: {name}".encode()) % 1_000_000, **settings}


def starts(kind: str) -> dict[float, dict]:
    """The starts that selection chooses from, by gain; kind: "gain" or "orthogonal"."""
    init = "gaussian" if kind == "gain" else "orthogonal"
    return {gain: dict(NO_SAL, gain=gain, init=init) for gain in (GAINS if kind == "gain" else ORTHOGONAL)}


def selection_name(kind: str, gain: float, lr: float) -> str:
    """The name of the run of one start at one rate."""
    return f"selection, {kind} {gain:g}, rate {lr:g}"


def selection_jobs() -> Iterator[tuple[str, dict]]:
    """(name, arguments of ``train_lag``) of the networks that choose and do not judge."""
    for lr in RATES:
        for kind in ("gain", "orthogonal"):
            for gain, settings in starts(kind).items():
                yield seeded(selection_name(kind, gain, lr), dict(settings, lr=lr, replicas=SELECTING))


def score(run: dict) -> tuple[int, int]:
    """How many networks of a run held, and how many were right at some look: what selection goes by, in this order."""
    return count_held(run, SUCCESS)[0], sum(step is not None for step in first_success(run, SUCCESS))


def best_gain(found: dict[float, dict | None]) -> float | None:
    """The gain whose run held most; of equal ones the one with more that were ever right, then the one nearest 1.1.

    None as long as one of them has not been run.
    """
    if not all(found.values()):
        return None
    return max(found, key=lambda gain: (*score(found[gain]), -round(abs(gain - USUAL_GAIN), 6), -gain))


def selected(kind: str, lr: float, runs: dict) -> float | None:
    """The start of this kind that is selected at this rate."""
    return best_gain({gain: runs.get(selection_name(kind, gain, lr)) for gain in starts(kind)})


def deciding_rate(runs: dict) -> float | None:
    """The rate at which the selected gain held most in selection; ties as in ``selected``, then the usual rate."""
    best = {lr: selected("gain", lr, runs) for lr in RATES}
    if None in best.values():
        return None
    return max(RATES, key=lambda lr: (*score(runs[selection_name("gain", best[lr], lr)]), lr == USUAL_RATE, -lr))


def arms(gain: float, orthogonal: float) -> dict[str, dict]:
    """All arms of the judgement, by the gains that were selected at the rate."""
    return {
        "local SAL": dict(sal=FALLING),
        "tuned gain": dict(NO_SAL, gain=gain),
        "tuned gain with the clause": dict(sal=dict(passes=0), gain=gain),
        "SAL before only": dict(sal=dict(when="before")),
        "rescaled once": dict(NO_SAL, rescale=True),
        "SAL with the clause": {},
        "tuned orthogonal": dict(NO_SAL, gain=orthogonal, init="orthogonal"),
    }


def judgement_jobs(runs: dict) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of the networks that judge, for every rate whose selection is complete; the rate that decides first."""
    decides = deciding_rate(runs)
    if decides is None:
        return
    for lr in sorted(RATES, key=lambda lr: (lr != decides, lr != USUAL_RATE, lr)):
        at_rate = arms(selected("gain", lr, runs), selected("orthogonal", lr, runs))
        for arm, settings in at_rate.items():
            yield seeded(f"{arm}, rate {lr:g}", dict(settings, lr=lr, replicas=JUDGING))
        if lr == decides:
            for arm in CONTESTANTS:
                yield seeded(f"{arm}, rate {lr:g}, more", dict(at_rate[arm], lr=lr, replicas=DECIDING))


def other_jobs(runs: dict) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of what is run afterwards: in each setting three gains on networks that choose, then four arms."""
    lr = deciding_rate(runs)
    if lr is None:
        return
    again = dict(RESTARTING, gain=selected("gain", lr, runs), lr=lr, replicas=OTHER_JUDGING)
    yield seeded("tuned gain, starting again", again)
    for setting, settings in OTHERS.items():
        tried = {gain: f"selection, {setting}, gain {gain:g}" for gain in OTHER_GAINS}
        for gain, name in tried.items():
            yield seeded(name, dict(NO_SAL, gain=gain, lr=lr, replicas=OTHER_SELECTING, **settings))
        best = best_gain({gain: runs.get(name) for gain, name in tried.items()})
        if best is not None:
            at_best = arms(best, orthogonal=1.0)
            for arm in OTHER_ARMS:
                yield seeded(f"{arm}, {setting}", dict(at_best[arm], lr=lr, replicas=OTHER_JUDGING, **settings))


def tuned_radius_jobs(read: Read) -> list[Job]:
    """All runs that can be named now: the judgement's follow when selection is complete, then the others."""
    runs, selection = read(FILE), list(selection_jobs())
    chosen = all(runs.get(name, {}).get("arguments") == arguments for name, arguments in selection)
    named = selection + ([*judgement_jobs(runs), *other_jobs(runs)] if chosen else [])
    return [(FILE, name, arguments) for name, arguments in named]


def counts(runs: dict, arm: str, rates: tuple[float, ...], *, of: str = "held", more: bool = False) -> tuple[int, int]:
    """How many networks of an arm held, and how many there are, over these rates.

    ``of``: "stopped" counts those that are right on fresh data with the weights of early stopping. ``more``: with the further
    networks of the contestants.
    """
    names = [f"{arm}, rate {lr:g}{end}" for lr in rates for end in ("", ", more")[: 1 + more]]
    made = [runs[name] for name in names if name in runs]
    return sum(value > SUCCESS for run in made for value in run[of]), sum(len(run[of]) for run in made)
