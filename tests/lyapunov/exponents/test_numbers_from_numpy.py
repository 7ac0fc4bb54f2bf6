"""Whole numbers and inputs as NumPy and Python's lists have them."""

import numpy as np
import pytest
import torch
from torch import nn

from salnb import covariant_vectors, finite_time_exponents, lyapunov_spectrum, rnn_step
from tests.problems import random

STEP, START = rnn_step(nn.RNN(2, 4, dtype=torch.float64)), torch.zeros(4, dtype=torch.float64)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_numpy_integers(kind):
    given = {"n_steps": 10, "n_warmup": 4, "k": 2, "qr_every": 2}
    found = lyapunov_spectrum(STEP, START, **{name: kind(value) for name, value in given.items()})
    assert type(found.n_steps) is int and found.n_steps == 10
    assert torch.equal(found.exponents, lyapunov_spectrum(STEP, START, **given).exponents)
    assert torch.equal(*(finite_time_exponents(STEP, START, n_steps=n, k=k) for n, k in ((kind(5), kind(2)), (5, 2))))
    pair = [covariant_vectors(STEP, START, n_steps=a, n_warmup=b, n_after=b).vectors for a, b in ((kind(5), kind(9)), (5, 9))]
    assert torch.equal(*pair)


@pytest.mark.parametrize("form", [lambda u: u.numpy(), lambda u: list(u), lambda u: list(u.numpy()), lambda u: u.tolist()])
def test_inputs_as_arrays_and_lists(form):
    inputs = random(10, 2)
    run = lambda u: lyapunov_spectrum(STEP, START, n_steps=10, inputs=u).exponents  # noqa: E731
    given = form(inputs)
    if isinstance(given, list) and isinstance(given[0], list):
        given = [torch.tensor(row, dtype=torch.float64) for row in given]
    assert torch.equal(run(given), run(inputs))
    over = [finite_time_exponents(STEP, START, n_steps=10, inputs=u) for u in (given, inputs)]
    assert torch.equal(*over)
    pair = [covariant_vectors(STEP, START, n_steps=4, n_warmup=3, n_after=3, inputs=u).vectors for u in (given, inputs)]
    assert torch.equal(*pair)


def test_other_inputs_are_refused_in_words():
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(7, 2, 3), [7, 4])
    for run in (lyapunov_spectrum, finite_time_exponents, covariant_vectors):
        with pytest.raises(TypeError, match="inputs: got a PackedSequence.*pad_packed_sequence"):
            run(STEP, START, n_steps=7, inputs=packed)
        with pytest.raises(ValueError, match="inputs: got list, expected a tensor, an array or a list of one shape"):
            run(STEP, START, n_steps=2, inputs=[torch.zeros(2), torch.zeros(3)])
        with pytest.raises(ValueError, match="inputs: got str, expected"):
            run(STEP, START, n_steps=2, inputs="noise")
