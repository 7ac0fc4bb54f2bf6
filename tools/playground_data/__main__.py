"""`python -m tools.playground_data [NAME ...]`: writes the data that are missing; with a name, that one anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tools.playground_data import receptive_fields, ringing
from tools.playground_data.numerals import file_of, write

MODULES = {module.NAME: module for module in (ringing, receptive_fields)}


def main(names: Sequence[str] = ()) -> None:
    if unknown := set(names) - set(MODULES):
        raise SystemExit(f"{', '.join(sorted(unknown))}: no such data, only {', '.join(MODULES)}")
    for name in names or [name for name in MODULES if not file_of(name).exists()]:
        module = MODULES[name]
        write(name, module.export(), module.COMMENT)
        print(f"{file_of(name).name}: {file_of(name).stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
