"""The processor has a name, wherever the tests run."""

from salnb.common.processor import processor


def test_the_processor_has_a_name():
    assert processor().strip() and "\n" not in processor()
