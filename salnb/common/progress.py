"""A progress bar that needs no dependency: tqdm's where it is installed, none where it is not."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def is_static() -> bool:
    """True while a page is rendered or tested: no live widget and no progress bar belongs in its output."""
    return os.environ.get("SALNB_STATIC", "") not in ("", "0")


def progress_bar(items: Iterable[Item], *, enabled: bool, label: str = "", total: int | None = None) -> Iterator[Item]:
    """The items themselves, with a bar beside them where ``enabled``, tqdm is installed and a person is watching."""
    if enabled and not is_static():
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return iter(items)
        return iter(tqdm(items, desc=label, total=total, leave=False))
    return iter(items)
