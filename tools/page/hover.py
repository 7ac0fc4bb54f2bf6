"""What a word or a source means, without leaving the line: the text that shows when the pointer or the keyboard is on a link.

The texts are those of the page *Symbols and words* and of the bibliography; `book/web/page.js` shows them.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

WORDS = "book/appendix/symbols.md"
SOURCES = "book/references.bib"
_WORD = re.compile(r'^<a id="([^"]+)"></a>\*\*(.+?)\.?\*\*\.?\s+(.+?)(?:\s*→.*)?$', re.MULTILINE)
# the tables have four columns, and two where a sign belongs to one chapter
_SYMBOL = re.compile(r'^\| <a id="([^"]+)"></a>([^|]+)\|(?:[^|\n]*\|[^|\n]*\|)? ([^|\n]+?)(?:\s*→[^|\n]*)?\|\s*$', re.MULTILINE)
_LINK = re.compile(r'(<a\b[^>]*?\bhref=")([^"]+)("[^>]*)>')
_TEX = {
    "lVert": "‖", "rVert": "‖", "lvert": "|", "rvert": "|", "rho": "ρ", "sigma": "σ", "lambda": "λ", "gamma": "γ", "theta":
    "θ", "varepsilon": "ε", "epsilon": "ε", "delta": "δ", "Delta": "Δ", "mu": "μ", "eta": "η", "alpha": "α", "beta": "β",
    "tau": "τ", "nabla": "∇", "partial": "∂", "cdot": "·", "cdots": "…", "dots": "…", "ldots": "…", "times": "×", "to": "→",
    "le": "≤", "ge": "≥", "approx": "≈", "infty": "∞", "pm": "±", "sqrt": "√", "tanh": "tanh", "ln": "ln", "log": "log",
    "exp": "exp", "max": "max", "min": "min", "det": "det", "chi": "χ", "phi": "φ", "xi": "ξ", "kappa": "κ", "sum": "Σ",
    "odot": "⊙", "ell": "ℓ", "mathbb": "", "mathrm": "", "text": "", "operatorname": "", "bar": "", "quad": " ", "psi": "ψ",
    "Phi": "Φ", "in": "∈", "neq": "≠", "top": "ᵀ",
}  # fmt: skip
_RAISED = str.maketrans("0123456789+-−nTt", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿᵀᵗ")


def in_plain_signs(markdown: str) -> str:
    r"""Markdown with short formulas as plain text; what has no plain sign is left out.

    >>> in_plain_signs(r"the length $\lVert w\rVert^2$ of *a* [vector](x.md)")
    'the length ‖w‖² of a vector'
    """
    def formula(found: re.Match) -> str:
        text = re.sub(r"\\[,;!: ]|\\(left|right|big|bigl|bigr)\b", " ", found[1])
        text = re.sub(r"\\([A-Za-z]+)\s*", lambda m: _TEX.get(m[1], m[1]), text)
        text = re.sub(r"\^\{?([0-9+\-−nTt]+)\}?", lambda m: m[1].translate(_RAISED), text)
        text = re.sub(r"_\{?([^{}\s_^]+)\}?", r"_\1", text)
        return re.sub(r"\s+", " ", text.replace("{", "").replace("}", "").replace("\\", "")).strip()

    text = re.sub(r"\$([^$]+)\$", formula, markdown)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*`]|<[^>]+>", "", text).replace("--", "–").strip()


@cache
def words(root: Path) -> dict[str, str]:
    """Anchor on the page of symbols -> what it says there."""
    text = (root / WORDS).read_text(encoding="utf-8")
    found = {name: f"{in_plain_signs(term)}: {in_plain_signs(says)}" for name, term, says in _WORD.findall(text)}
    found |= {name: f"{in_plain_signs(sign)}: {in_plain_signs(says)}" for name, sign, says in _SYMBOL.findall(text)}
    return found


@cache
def sources(root: Path) -> dict[str, str]:
    """Address of a source -> authors, year, title and journal."""
    from pybtex.database import parse_file

    found = {}
    for entry in parse_file(str(root / SOURCES), bib_format="bibtex").entries.values():
        fields = entry.fields
        people = [" ".join(person.last_names) for person in entry.persons.get("author", [])]
        first = f"{', '.join(people[:-1])} and " if len(people) > 1 else ""
        names = f"{people[0]} et al." if len(people) > 3 else first + (people[-1] if people else "")
        where = fields.get("journal") or fields.get("booktitle") or fields.get("publisher") or ""
        title = re.sub(r"[{}]", "", fields.get("title", ""))
        says = in_plain_signs(f"{names} ({fields.get('year', '')}): {title}. {re.sub(r'[{}]', '', where)}".strip(". ") + ".")
        for kind, start in (("url", ""), ("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/")):
            if kind in fields:
                address = f"{start}{fields[kind]}"
                found[address.rstrip("/").lower()] = says
    return found


def with_tips(body: str, root: Path) -> str:
    """The page's HTML with `data-tip` on every link to a word, a symbol or a source that is explained."""
    def marked(found: re.Match) -> str:
        address = html.unescape(found[2])
        page, _, place = address.partition("#")
        if page.endswith("symbols.html") or (not page and place.startswith(("word-", "sym-"))):
            tip = words(root).get(place)
        else:
            tip = sources(root).get(address.rstrip("/").lower())
        return f'{found[0][:-1]} data-tip="{html.escape(tip, quote=True)}">' if tip else found[0]

    return _LINK.sub(marked, body)


def explain_links(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Sphinx calls this for every page that it writes."""
    if doctree is not None and "body" in context and not pagename.endswith("appendix/symbols"):
        context["body"] = with_tips(context["body"], Path(app.srcdir))
