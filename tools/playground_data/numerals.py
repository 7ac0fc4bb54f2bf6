"""Numbers as text for a script: whole numbers in base 64, and the file that hands them over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.page.playgrounds import FOLDER
from tools.tree import write_text

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # the alphabet of base64, 6 bits a character


def packed(values: Tensor, digits: int = 2, largest: float | None = None) -> dict[str, Any]:
    r"""Numbers as multiples of one unit, so many base-64 digits each, the more significant one first.

    .. math:: v \approx (c - m)\, u, \qquad m = \lfloor 64^{digits} / 2 \rfloor, \quad u = \max |v| / (m - 1)

    Args:
        values: any shape, in row-major order. digits: per number; 2 are 12 bits. largest: that of ``values``, where several
            tensors are to share a unit.

    Returns:
        ``unit`` u, ``digits`` and ``text``.

    Example:
        >>> found = packed(torch.tensor([1.0, -1.0, 0.0]), digits=1)
        >>> found["text"], unpacked(found).tolist()
        ('/Bg', [1.0, -1.0, 0.0])
    """
    middle = 64**digits // 2
    largest = values.abs().max().item() if largest is None else largest
    unit = largest / (middle - 1) if largest > 0 else 1.0
    codes = (values.double().flatten() / unit).round().long() + middle
    places = [64**place for place in reversed(range(digits))]
    text = "".join(DIGITS[code // place % 64] for code in codes.tolist() for place in places)
    return {"unit": unit, "digits": digits, "text": text}


def unpacked(stored: Mapping[str, Any]) -> Tensor:
    """The numbers behind ``packed``, one after the other: float64, the same doubles that the script computes."""
    digits, text = stored["digits"], stored["text"]
    codes = [0] * (len(text) // digits)
    for place, character in enumerate(text):
        codes[place // digits] = 64 * codes[place // digits] + DIGITS.index(character)
    return (torch.tensor(codes, dtype=torch.float64) - 64**digits // 2) * stored["unit"]


def file_of(name: str) -> Path:
    """Where a playground's data lie."""
    return FOLDER / f"data_{name}.js"


def write(name: str, content: Mapping[str, Any], comment: str) -> None:
    """One line for each part of the content, as JSON, which is JavaScript."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items()]
    head = f'/* {comment} Made by `python -m tools.playground_data {name}`; do not edit. */\n"use strict";\n'
    write_text(file_of(name), f"{head}salnb.data.{name} = {{\n" + ",\n".join(lines) + "\n};\n")


def read(name: str) -> dict[str, Any]:
    """What ``write`` has stored."""
    _, _, body = file_of(name).read_text(encoding="utf-8").partition(f"salnb.data.{name} = ")
    return json.loads(body.rstrip().removesuffix(";"))
