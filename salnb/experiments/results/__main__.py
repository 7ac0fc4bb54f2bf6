"""`make results`: runs every paper-scale experiment that is not stored yet, then computes the claims' figures from all runs."""

import argparse
import os

import torch

from .store import (
    claim_figures,
    compare_all,
    flossing_all,
    own_model_all,
    remember_all,
    run_all,
    spectra_all,
    train_all,
    tuned_radius_all,
    weights_all,
    write,
)

parser = argparse.ArgumentParser(prog="python -m salnb.experiments.results", description=__doc__)
parser.add_argument("--quiet", action="store_true", help="no progress bar")
parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="training runs at a time (default: one per core)")

if __name__ == "__main__":
    given = parser.parse_args()
    torch.set_num_threads(1)  # networks of this size gain nothing from a second thread, and lose much on a busy machine
    run_all(progress=not given.quiet)
    train_all(progress=not given.quiet, n_jobs=given.jobs)
    remember_all(progress=not given.quiet)
    compare_all(progress=not given.quiet, n_jobs=given.jobs)
    own_model_all(progress=not given.quiet)
    flossing_all(progress=not given.quiet)
    weights_all(progress=not given.quiet)
    spectra_all(progress=not given.quiet)
    tuned_radius_all(progress=not given.quiet, n_jobs=given.jobs)
    write("claims", claim_figures())
