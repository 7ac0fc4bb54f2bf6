"""Sweeps: the same results wherever they run, also on a local Dask cluster, and nothing repeated after an interruption."""

import pytest
import torch

from salnb.experiments import train_lag
from salnb.experiments.results import store
from salnb.experiments.results.plan import function_of, training_jobs
from salnb.experiments.training.sweeps import grid, name_of, sweep

CELLS = grid(gain=[0.5, 0.9], sal=[False], lag=[5], n_hidden=[6], replicas=[2], steps=[3], seed=[3])


def equal(a, b) -> bool:
    """Bit for bit, whatever the number of threads: no tensor here is large enough for a kernel to share out."""
    return torch.equal(a.gradient_profile, b.gradient_profile) and torch.equal(a.accuracy, b.accuracy)


def test_a_grid_is_all_combinations():
    assert len(grid(a=[1, 2], b=[3], c=[4, 5, 6])) == 6 and grid() == [{}]


def test_a_sweep_is_the_loop_over_its_cells():
    by_hand = [train_lag(**{k: v for k, v in cell.items() if k != "seed"}, generator=torch.Generator().manual_seed(3))
               for cell in CELLS]  # fmt: skip
    assert all(equal(a, b) for a, b in zip(sweep(train_lag, CELLS), by_hand, strict=True))


def test_processes_give_what_a_loop_gives():
    assert all(equal(a, b) for a, b in zip(sweep(train_lag, CELLS, n_jobs=2), sweep(train_lag, CELLS), strict=True))


# Sockets that a cluster's threads close late are not ours to close.
@pytest.mark.filterwarnings("ignore")
def test_a_local_dask_cluster_gives_what_a_loop_gives():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        with distributed.Client(cluster):
            there = sweep(train_lag, CELLS, n_jobs=-1, backend="dask")
    assert all(equal(a, b) for a, b in zip(there, sweep(train_lag, CELLS), strict=True))


def test_a_sweep_takes_up_what_is_stored(tmp_path):
    first = sweep(train_lag, CELLS, folder=tmp_path)
    stored = sorted(tmp_path.glob("*.pt"))
    assert [p.stem for p in stored] == sorted(name_of(cell) for cell in CELLS)
    again = sweep(train_lag, CELLS, folder=tmp_path)
    assert all(equal(a, b) and a.seconds == pytest.approx(b.seconds) for a, b in zip(first, again, strict=True))


def test_cells_that_are_no_mappings_are_refused():
    with pytest.raises(ValueError, match="cells"):
        sweep(train_lag, [3])


def test_every_job_of_the_book_has_a_name_and_every_experiment_a_seed_of_its_own():
    jobs = training_jobs()
    paired = "xor, SAL before", "xor, SAL throughout, falling"  # on purpose with the networks of another policy
    seeds = [arguments["seed"] for file, name, arguments in jobs if file != "recipes" and name not in paired]
    assert len({job[:2] for job in jobs}) == len(jobs) and len(set(seeds)) == len(seeds) and min(seeds) > 10


@pytest.mark.parametrize("job", training_jobs(), ids=lambda job: f"{job[0]}: {job[1]}")
def test_every_job_of_the_book_can_run(job):
    function, arguments = function_of(job), job[2]
    small = dict(n_hidden=6, lag=10) if function is train_lag else dict(depth=3, width=6)
    sal = arguments.get("sal", True)
    shorter = {**sal, "passes": 2} if isinstance(sal, dict) else sal and {"passes": 2}
    run = sweep(function, [{**arguments, **small, "replicas": 2, "steps": 2, "sal": shorter}])[0]
    assert run.accuracy.shape == (2,)


def test_stored_runs_are_those_of_the_matrix():
    wanted = {(file, name): arguments for file, name, arguments in training_jobs()}
    for file in ("depth", "lag", "recipes"):
        for name, run in store.read(file).items():
            assert run["arguments"] == store.as_stored(wanted[file, name]), (file, name)
            assert run["provenance"]["commit"] and run["seconds"] > 0 and len(run["held"]) == run["settings"]["replicas"]
