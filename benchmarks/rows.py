"""What is compared: the rows of the table, their bars, and who takes part in each."""

from dataclasses import dataclass, field

PEERS = {"chaotax": "peer_chaotax", "lyapax": "peer_lyapax", "pynamicalsys": "peer_pynamicalsys", "lyapynov": "peer_lyapynov"}

ONE_BY_ONE, COMPILES = "one system after the other", "every call compiles anew, which is part of its time"
NOTES = {("chaotax", "spectrum"): COMPILES}


@dataclass(frozen=True)
class Contender:
    """One line of a row. ``role``: "ours" and "peer" make the ratio; "tuned", a peer whose QR interval was set by hand, makes
    a second one; "other" is shown beside them, as is "floor", a part of the work that has no answer."""

    name: str
    package: str
    target: str  # file:function in benchmarks/contenders
    role: str = "peer"
    options: dict = field(default_factory=dict)
    less: dict = field(default_factory=dict)  # a smaller problem for a slow one; its cost is proportional to these
    note: str = ""


FLOOR = Contender("the products alone, float32", "torch", "floor:products", "floor", note="no exponent: the arithmetic by itself")


@dataclass(frozen=True)
class Row:
    """One piece of work. ``bar``: the ratio ours / best peer to reach, None where others lead and it is shown by how much.
    ``small``: changes for the comparison of answers."""

    id: str
    title: str
    bar: float | None
    problem: dict
    small: dict
    check: str
    contenders: tuple[Contender, ...]
    seeds: int = 1  # how many systems the answers are compared on
    runs: int = 1  # runs in a round, with trajectories of their own: one of a few hundredths of a second is too short
    warm: bool = True  # one run that does not count; long ones need none, being long


def _peers(function: str, *, less=None, **options) -> tuple[Contender, ...]:
    """The packages, each doing the same work; numpy and numba loops on a smaller share of it."""
    slow = ("pynamicalsys", "lyapynov")
    return tuple(
        Contender(name + (f", {options['dtype']}" if options and name not in slow else ""), name, f"{file}:{function}",
                  options={} if name in slow else options, less=(less or {}) if name in slow else {},
                  note=ONE_BY_ONE if name in slow and function != "spectrum" else NOTES.get((name, function), ""))
        for name, file in PEERS.items()
    )  # fmt: skip


def spectrum_row() -> Row:
    """Full spectrum of one network."""
    ours = [Contender("salnb", "salnb", "ours:spectrum", "ours"),
            Contender("salnb, TanhRNN", "salnb", "ours:spectrum", "ours", {"form": "network"}),
            Contender("salnb, tanh_map", "salnb", "ours:spectrum", "ours", {"form": "map"}),
            Contender("salnb, QR each step", "salnb", "ours:spectrum", "other", {"every": 1}, {"steps": 250})]  # fmt: skip
    peers = [Contender("JAX scan", "jax", "jax_scan:spectrum"),
             Contender("JAX scan, QR every 2nd step", "jax", "jax_scan:spectrum", "tuned", {"every": 2}),
             Contender("lyapax, QR every 2nd step", "lyapax", "peer_lyapax:spectrum", "tuned", {"every": 2}),
             *_peers("spectrum", less={"steps": 100})]  # fmt: skip
    problem = dict(n=256, gain=2.0, steps=1000, seed=0)
    title = "full spectrum, N = 256, g = 2, 1,000 steps"
    return Row("spectrum", title, 0.40, problem, {"steps": 60}, "spectrum", (*ours, *peers), seeds=3, warm=False)


def maximum_row() -> Row:
    """Time until the leading exponent is known to 0.001."""
    forms = (("float64", "function", ""), ("float32", "function", ""), ("float32", "network", ", TanhRNN"),
             ("float32", "map", ", tanh_map"))  # fmt: skip
    ours = [Contender(f"salnb, {dtype}{extra}", "salnb", "ours:maximum", "ours", {"dtype": dtype, "form": form})
            for dtype, form, extra in forms]  # fmt: skip
    peers = [Contender(f"JAX scan, {dtype}{', one trajectory' * single}", "jax", "jax_scan:maximum",
                       options={"dtype": dtype, "single": single})
             for dtype in ("float64", "float32") for single in (False, True)]  # fmt: skip
    rest = _peers("maximum", less={"trajectories": 1}, dtype="float32")
    problem = dict(n=256, gain=2.0, trajectories=20, steps=500, warmup=100, seed=0)
    return Row("maximum", "maximum exponent to a standard error of 0.001, N = 256, g = 2", 0.50, problem,
               {"trajectories": 2, "steps": 50}, "maximum", (*ours, *peers, *rest, FLOOR), runs=6)  # fmt: skip


def sweep_rows() -> list[Row]:
    """64 gains at once: the leading exponent, and all of them."""
    rows, problem = [], dict(n=128, gains=64, steps=2000, k=1, seed=0)
    for k, title, full in ((1, "maximum exponent", {}), (128, "full spectrum", {"gains": 8, "steps": 160})):
        less = {"steps": 100} if k == 1 else {"gains": 4, "steps": 40}
        short = "float32" if k == 1 else "float64"  # a tail needs its digits, a leading exponent does not
        forms = [("float64", "function", ""), (short, "function", ""), (short, "network", ", TanhRNN"),
                 (short, "map", ", tanh_map")]  # fmt: skip
        ours = [Contender(f"salnb, {dtype}{extra}", "salnb", "ours:sweep", "ours", {"dtype": dtype, "form": form}, full)
                for dtype, form, extra in dict.fromkeys(forms)]  # fmt: skip
        peers = [Contender(f"JAX scan, {dtype}", "jax", "jax_scan:sweep", options={"dtype": dtype}, less=full)
                 for dtype in dict.fromkeys(form[0] for form in forms)]  # fmt: skip
        rest = [Contender(c.name, c.package, c.target, options=c.options,
                          note=COMPILES if k > 1 and c.name.startswith("chaotax") else c.note,
                          less=c.less or ({"gains": 16, "steps": 160} if k > 1 and c.name.startswith("chaotax") else full))
                for c in _peers("sweep", less=less, dtype=short)]  # fmt: skip
        small = {"gains": 3, "steps": 24} if k > 1 else {"gains": 3, "steps": 50}
        rows.append(Row(f"gains-{k}", f"64 gains at once, {title}, N = 128, 2,000 steps", 1.0, {**problem, "k": k}, small,
                        "sweep", (*ours, *peers, *rest, *[FLOOR] * (k == 1)), warm=k == 1))  # fmt: skip
    return rows


def small_system_rows() -> list[Row]:
    """Systems of two and three numbers, where the code around the arithmetic takes the time: one trajectory, and 1,000."""
    rows = []
    for system, title in (("lorenz", "Lorenz flow, Runge–Kutta"), ("henon", "Hénon map")):
        for count in (1, 1000):
            ours, jax = ({"steps": 2_000}, {"steps": 2_000}) if count > 1 else ({"steps": 5_000}, {})
            numba = {"trajectories": 10} if count > 1 else {}
            contenders = (
                Contender("salnb", "salnb", "flows:ours", "ours", less=ours),
                Contender("salnb, QR each step", "salnb", "flows:ours", "other", {"every": 1}, ours),
                Contender("JAX scan", "jax", "flows:jax_scan", less=jax),
                Contender("JAX scan, QR every 5th step", "jax", "flows:jax_scan", "tuned", {"every": 5}, jax),
                Contender("pynamicalsys", "pynamicalsys", "flows:pynamicalsys", less=numba, note=ONE_BY_ONE if count > 1 else ""),
            )
            many = "1,000 trajectories" if count > 1 else "one trajectory"
            rows.append(Row(f"{system}-{count}", f"all exponents, {title}, {many}, 100,000 steps", None,
                            dict(system=system, steps=100_000, trajectories=count, seed=0),
                            {"steps": 100 if system == "lorenz" else 20, "trajectories": min(count, 3)}, "small_system",
                            contenders))  # fmt: skip
    return rows


def sparse_row() -> Row:
    """The leading exponents of a large sparse reservoir."""
    few, by_hand = {"steps": 25}, "tangents by hand"
    contenders = (
        Contender("salnb, tanh_map of a sparse W", "salnb", "sparse:ours", "ours"),
        Contender("salnb, a step of one's own", "salnb", "sparse:ours", "other", {"form": "differences"}, few,
                  note="torch.tanh(W @ x), W in CSR form, finite differences"),
        Contender("salnb, tanh_map of a dense W", "salnb", "sparse:ours", "other", {"form": "dense"}, few),
        Contender("SciPy CSR, numpy QR", "scipy", "sparse:scipy_loop", note=by_hand),
        Contender("JAX scan, BCSR", "jax", "sparse:jax_scan", options={"layout": "BCSR"}, note=by_hand),
        Contender("JAX scan, BCOO", "jax", "sparse:jax_scan", options={"layout": "BCOO"}, note=by_hand),
    )  # fmt: skip
    problem = dict(n=5000, k=10, gain=2.0, connections=0.01, steps=200, seed=0)
    title = "ten exponents of a sparse reservoir, N = 5,000, 1 % of the connections, g = 2, 200 steps"
    return Row("sparse-reservoir", title, 1.0, problem, {"n": 300, "connections": 0.1, "steps": 60}, "spectrum", contenders,
               seeds=3, warm=False)  # fmt: skip


def bptt_row(n: int, batch: int, bar: float) -> Row:
    """Gradients of a recurrent network."""
    contenders = (
        Contender("salnb, backprop_through_time", "salnb", "learning:by_hand", "ours"),
        Contender("nn.RNN and autograd", "torch", "learning:torch_rnn"),
        Contender("salnb, TanhRNN and autograd", "salnb", "learning:salnb_autograd", "other"),
        Contender("JAX, grad of a scan", "jax", "learning:jax_grad", "other"),
    )
    problem = dict(n=n, batch=batch, steps=300, n_in=10, n_out=10, dtype="float32", repeats=10, seed=0)
    return Row(f"bptt-{n}", f"backpropagation through time, T = 300, N = {n}, batch {batch}", bar, problem,
               {"dtype": "float64", "steps": 20, "repeats": 1}, "gradients", contenders)  # fmt: skip


def training_row(id: str, title: str, problem: dict) -> Row:
    """A training step with SAL beside the same without."""
    contenders = (
        Contender("with SAL, every neuron below target", "salnb", "training:step", "ours", {"sal": "all"}),
        Contender("with SAL, every neuron at rest", "salnb", "training:step", "other", {"sal": "rest"}),
        Contender("without SAL", "salnb", "training:step"),
    )
    return Row(id, f"training step, {title}", 1.5, problem, {"repeats": 1}, "loss", contenders)


def krotov_hopfield_row(id: str, title: str, bar: float, **problem: int) -> Row:
    """An update of six Krotov–Hopfield layers, beside the rule as it is written."""
    contenders = (
        Contender("salnb, 6 replicas", "salnb", "krotov_hopfield:replicas", "ours"),
        Contender("the rule as written, batched", "torch", "krotov_hopfield:plainly"),
        Contender("the rule as written, one layer after the other", "torch", "krotov_hopfield:plainly",
                  options={"together": False}, note=ONE_BY_ONE),
    )  # fmt: skip
    problem = dict(units=200, replicas=6, dtype="float32", seed=0, **problem)
    small = {"units": 20, "dtype": "float64", "repeats": 3}
    return Row(id, f"Krotov–Hopfield update, 6 layers, {title}", bar, problem, small, "weights", contenders)


def all_rows() -> list[Row]:
    """The table, from top to bottom."""
    deep = dict(n=64, depth=300, batch=32, gain=1.0, repeats=10, seed=0)
    recurrent = dict(n=100, steps=300, batch=32, n_in=10, n_out=10, gain=1.0, repeats=5, dtype="float32", seed=0)
    return [
        spectrum_row(), maximum_row(), *sweep_rows(), sparse_row(), *small_system_rows(),
        *(bptt_row(n, batch, bar) for n, batch, bar in ((50, 16, 0.6), (100, 32, 0.7), (200, 64, 0.95))),
        training_row("sal-deep", "300 layers of 64, batch 32", deep),
        training_row("sal-rnn", "RNN, N = 100, T = 300, batch 32", recurrent),
        krotov_hopfield_row("krotov-hopfield-64", "64 → 200, batch 100", 0.8, inputs=64, batch=100, repeats=300),
        krotov_hopfield_row("krotov-hopfield-768", "768 → 200, batch 256", 0.8, inputs=768, batch=256, repeats=20),
    ]  # fmt: skip
