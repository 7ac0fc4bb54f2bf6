"""Tables that a notebook shows and ``pandas`` takes."""

from collections.abc import Sequence


class Table(list):
    """Rows as plain dictionaries, which ``pandas.DataFrame`` takes as they are; a notebook shows them as a table.

    ``empty`` is the text in place of a table without rows, ``note`` a text below it.
    """

    def __init__(self, rows: Sequence[dict] = (), empty: str = "no pass seen yet", note: str = "") -> None:
        super().__init__(rows)
        self.empty, self.note = empty, note

    def _cells(self) -> list[list[str]]:
        return [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in self]

    def __repr__(self) -> str:
        if not self:
            return f"({self.empty})"
        lines = [list(self[0]), *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = [not isinstance(value, int | float) for value in self[0].values()]
        pad = [str.ljust if left and len(self[0]) == 5 else str.rjust for left in text]
        rows = ["  ".join(to(cell, width) for to, cell, width in zip(pad, line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*rows, self.note] if self.note else rows)

    def _repr_html_(self) -> str:
        from html import escape

        if not self:
            return f"<p>{escape(self.empty)}</p>"
        head = "".join(f"<th>{escape(name)}</th>" for name in self[0])
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in self._cells())
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"
