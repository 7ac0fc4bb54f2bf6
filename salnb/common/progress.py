"""Progress bars. They come from tqdm; where tqdm is not installed, the same loops run without a bar."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def is_static() -> bool:
    """True while a page is rendered or tested: then its output must have no live widget and no progress bar."""
    return os.environ.get("SALNB_STATIC", "") not in ("", "0")


def progress_bar(items: Iterable[Item], *, enabled: bool, label: str = "", total: int | None = None) -> Iterator[Item]:
    """The items themselves. A bar is shown if it is ``enabled``, tqdm is installed and no page is being rendered or tested."""
    if enabled and not is_static():
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return iter(items)
        return iter(tqdm(items, desc=label, total=total, leave=False))
    return iter(items)
