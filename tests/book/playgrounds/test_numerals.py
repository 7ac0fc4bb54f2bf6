"""Numbers that travel as text: at most half a unit is lost, and the script reads what the library wrote."""

import pytest
import torch

from tools.playground_data.numerals import packed, unpacked


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_half_a_unit_is_lost_at_most(digits):
    values = torch.randn(50, 3, dtype=torch.float64)
    stored = packed(values, digits)
    apart = (unpacked(stored) - values.flatten()).abs().max().item()
    # the quotient by the unit is rounded once more, by eps times its size of 64^digits / 2
    assert apart <= stored["unit"] / 2 + 4 * torch.finfo(values.dtype).eps * values.abs().max().item()
    assert len(stored["text"]) == digits * values.numel()
    assert torch.equal(unpacked(packed(unpacked(stored), digits)), unpacked(stored))


def test_zeros_stay():
    assert not unpacked(packed(torch.zeros(4))).any()


def test_the_script_reads_the_same_numbers(functions):
    stored = packed(torch.randn(500))
    assert functions("receptive_fields").evaluate("(stored) => [...salnb.unpack(stored)]", stored) == unpacked(stored).tolist()
