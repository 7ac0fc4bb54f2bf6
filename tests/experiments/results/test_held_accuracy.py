"""How many networks of a stored run held, and when each first succeeded."""

from salnb.experiments.results.held_accuracy import count_held, first_success


def test_counting():
    run = {"held": [0.98, 1.0, 0.99], "history": {"step": [0, 5, 9], "accuracy": [[0.5, 1, 0.5], [0.99, 1, 0.98], [0.9, 1, 0.6]]}}
    assert count_held(run, 0.98) == (2, 3) and first_success(run, 0.98) == [5, 0, None]
