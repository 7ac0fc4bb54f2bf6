"""The browser that the tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.book.web.browser import started


@pytest.fixture(scope="module")
def context() -> Iterator:
    """One window for all pages of a file; scripts and styles that pages share are kept in its memory."""
    with started() as browser:
        context = browser.new_context()
        yield context
        context.close()
