"""The check of tensors lets good ones pass and refuses each kind of bad one in words."""

import numpy
import pytest
import torch

from salnb.common.tensors import check_floats


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_floating_point_tensors_pass(dtype, device):
    check_floats("h", torch.ones(2, 3, dtype=dtype, device=device), "(..., N, H)", dims=2)
    check_floats("h", torch.full((1,), torch.nan, device=device), "(..., H)", finite=False)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (numpy.ones((2, 3)), TypeError, r"h: got numpy.ndarray, expected a tensor \(\.\.\., N, H\).*as_tensor\(h\)"),
        ([[1.0]], TypeError, "h: got list"),
        (None, TypeError, "h: got NoneType"),
        (torch.ones(2, 3).long(), ValueError, r"h: got dtype torch.int64.*\.float\(\)"),
        (torch.ones(2, 3, dtype=torch.complex64), ValueError, "h: got dtype torch.complex64"),
        (torch.ones(2, 3) > 0, ValueError, "h: got dtype torch.bool"),
        (torch.eye(3).to_sparse(), ValueError, r"h: got layout torch.sparse_coo.*to_dense"),
        (torch.ones(3), ValueError, r"h: got shape \(3,\).*at least 2 dimensions"),
        (torch.ones(0, 3), ValueError, r"h: got shape \(0, 3\).*no number"),
        (torch.tensor([[1.0, torch.inf], [torch.nan, 0]]), ValueError, r"h: got 2 of 4 numbers.*first at \(0, 1\)"),
    ],
)
def test_each_kind_of_bad_input_has_its_words(value, kind, message):
    with pytest.raises(kind, match=message):
        check_floats("h", value, "(..., N, H)", dims=2)
