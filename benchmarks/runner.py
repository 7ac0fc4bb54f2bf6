"""Measures a row: everybody ready, answers compared, then round after round A B C A B C …"""

import importlib.metadata
import statistics

import numpy as np

from benchmarks import checks
from benchmarks.rows import Contender, Row
from benchmarks.worker import Libraries, Worker

ROUNDS = 5


def version(package: str) -> str:
    """The installed version; "" where it is not installed."""
    if package == "salnb":
        import salnb

        return salnb.__version__
    try:
        return importlib.metadata.version(package).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def share(contender: Contender, problem: dict) -> float:
    """How many times larger the whole work is than what a contender does in one run."""
    factor = 1.0
    for name, value in contender.less.items():
        factor *= problem[name] / value
    return factor


def paired(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of the ratio, taken round by round.

    >>> paired([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    (1.0, 0.5, 1.5)
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def ratio_of(lines: list[dict]) -> dict:
    """Best of ours over the best peer, both by their medians; empty where one side has no number.

    "tuned": the same with the peers whose QR interval was set by hand, where they are still right.
    """
    best = {}
    for role in ("ours", "peer", "tuned"):
        timed = [line for line in lines if line["role"] == role and line.get("seconds")]
        if timed:
            best[role] = min(timed, key=lambda line: statistics.median(line["seconds"]))
    if "ours" not in best or "peer" not in best:
        return {}
    median, low, high = paired(best["ours"]["seconds"], best["peer"]["seconds"])
    found = {"ratio": median, "low": low, "high": high, "ours": best["ours"]["name"], "peer": best["peer"]["name"]}
    if "tuned" in best:
        found["tuned"] = [best["tuned"]["name"], *paired(best["ours"]["seconds"], best["tuned"]["seconds"])]
    return found


def deviation(row: Row, contender: Contender, worker: Worker, first: list[dict]) -> float:
    """By how much the contender's answers are off, the worst of the row's small systems; the first one's answers are kept."""
    if contender.role == "floor":
        return 0.0
    check, worst = checks.CHECKS[row.check], 0.0
    for seed in range(row.seeds):
        small = {**row.problem, **row.small, "seed": row.problem["seed"] + seed}
        worker.ask("set up", contender.name, contender.target, contender.options, small)
        answer = worker.ask("run", contender.name, 0)[1]
        if len(first) <= seed:
            first.append(answer)
        worst = max(worst, check(answer, small, first[seed]))
    return worst


def prepare(row: Row, libraries: Libraries, say) -> tuple[list[dict], dict[str, Worker]]:
    """A line for every contender, and for those whose small answer is right the worker that has the full problem ready."""
    lines, workers, first = [], {}, []
    for contender in row.contenders:
        line = {"name": contender.name, "package": contender.package, "version": version(contender.package),
                "role": contender.role, "share": 1 / share(contender, row.problem), "note": contender.note}  # fmt: skip
        lines.append(line)
        say(f"{contender.name}: getting ready")
        worker, allowed = libraries[contender.package], checks.LIMITS[checks.CHECKS[row.check]]
        try:
            line["off"] = deviation(row, contender, worker, first)
            refuse(line, line["off"] > allowed, f"{row.check} off by {line['off']:.0e}, {allowed:.0e} allowed")
            if "reason" not in line:
                problem = {**row.problem, **contender.less}
                worker.ask("set up", contender.name, contender.target, contender.options, problem)
                if row.warm:
                    worker.ask("run", contender.name, 0)
                workers[contender.name] = worker
        except RuntimeError as error:
            line["reason"] = str(error)
    return lines, workers


def measure_row(row: Row, libraries: Libraries, rounds: int = ROUNDS, say=lambda text: None) -> dict:
    """Everything that the table says about a row."""
    lines, workers = prepare(row, libraries, say)
    seconds, answers = {name: [] for name in workers}, {name: [] for name in workers}
    for round in range(rounds):
        for name, worker in workers.items():
            say(f"round {round + 1} of {rounds}: {name}")
            made = [worker.ask("run", name, round * row.runs + i) for i in range(row.runs)]
            seconds[name].append(statistics.mean(took for took, _ in made))
            answers[name] += [answer for _, answer in made]
    by_name = {contender.name: contender for contender in row.contenders}
    for line in lines:
        if line["name"] in workers:
            factor = share(by_name[line["name"]], row.problem) / row.problem.get("repeats", 1)
            line["seconds"] = [took * factor for took in seconds[line["name"]]]
    together(row, lines, answers)
    return {"title": row.title, "bar": row.bar, "problem": row.problem, "lines": lines, **ratio_of(lines)}


def together(row: Row, lines: list[dict], answers: dict[str, list[dict]]) -> None:
    """What only shows on the whole runs: time to accuracy, and whether the exponents agree within their errors."""
    timed = [line for line in lines if line.get("seconds") and line["role"] != "floor"]
    if row.check == "maximum":
        steps = row.problem["steps"]
        spread = checks.diffusion({line["name"]: answers[line["name"]] for line in timed}, steps)
        found = {line["name"]: checks.mean_and_error(answers[line["name"]], spread, steps) for line in timed}
        centre = statistics.median(mean for mean, _ in found.values())
        reached = spread / (steps * row.problem["trajectories"])  # squared standard error of one whole run
        for line in lines:
            if line.get("seconds"):
                line["seconds"] = [took * reached / checks.TARGET**2 for took in line["seconds"]]
        for line in timed:
            mean, error = found[line["name"]]
            own = checks.diffusion({"": answers[line["name"]]}, steps)
            line["own_error"] = (own / (steps * row.problem["trajectories"])) ** 0.5
            line["exponent"] = mean
            refuse(line, abs(mean - centre) > 4 * error, f"exponent {mean:.4f} instead of {centre:.4f}")
    if row.check == "sweep" and row.problem["k"] == 1:
        wanted = np.median([answers[line["name"]][0]["exponents"][:, 0] for line in timed], axis=0)
        for line in timed:
            off = checks.off_by(answers[line["name"]][0]["exponents"], wanted)
            refuse(line, off > 0.01 + 4 / (row.problem["steps"] * line["share"]), f"exponents off by {off:.3f}")


def refuse(line: dict, wrong: bool, reason: str) -> None:
    """A wrong answer keeps its reason and loses its seconds."""
    if wrong:
        line["reason"] = reason
        line.pop("seconds", None)
