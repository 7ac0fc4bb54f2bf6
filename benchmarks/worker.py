"""One library in a process of its own: imports, compilation and warm-up are over before its clock starts."""

import importlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


def load(target: str) -> Callable:
    """"file:function" in benchmarks/contenders -> the function."""
    file, name = target.split(":")
    return getattr(importlib.import_module(f"benchmarks.contenders.{file}"), name)


def measure(run: Callable, round: int, device: str) -> tuple[float, dict]:
    """One run and its seconds: of the processor, all threads together, or of the clock where a GPU does the work."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    answer = run(round)
    return clock() - began, answer


def serve(connection, device: str) -> None:
    """Answers ("set up", name, target, options, problem) and ("run", name, round) until ("stop",); errors travel as text."""
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # whatever threads a library starts share one core
    runs: dict[str, Callable] = {}
    while True:
        try:
            order, *given = connection.recv()
        except EOFError:  # the parent is gone
            return
        if order == "stop":
            return
        try:
            if order == "set up":
                name, target, options, problem = given
                runs[name] = load(target)(problem, device, **options)
            connection.send(("ok", None if order == "set up" else measure(runs[given[0]], given[1], device)))
        except Exception as error:  # a peer that cannot do the work is a result, too
            traceback.print_exc()
            connection.send(("error", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]))


class Worker:
    """The parent's side of one library."""

    def __init__(self, device: str = "cpu") -> None:
        os.environ.update(ONE_THREAD)
        if device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *order):
        """Sends an order and waits for the answer; RuntimeError with the contender's own words where it failed."""
        try:
            self.connection.send(order)
            state, answer = self.connection.recv()
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError("its process died") from error
        if state == "error":
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        """Ends the process."""
        try:
            self.connection.send(("stop",))
        except (BrokenPipeError, OSError):
            pass
        self.process.join(10)


class Libraries(dict):
    """{package: its worker}, started when first asked for and kept until the block ends: nothing is imported twice."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device = device

    def __missing__(self, package: str) -> Worker:
        return self.setdefault(package, Worker(self.device))

    def __enter__(self) -> "Libraries":
        return self

    def __exit__(self, *_) -> None:
        for worker in self.values():
            worker.close()
