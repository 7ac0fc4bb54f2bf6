"""What holds for every playground: each control does something, by mouse and keyboard, and everything drawn can be read."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tools.page.playgrounds import FOLDER, names_in, scripts
from tools.stills import HEAVIEST, STILLS, opened, playgrounds
from tools.tree import HTML, ROOT, notebooks, pages

SCRIPT = 60 * 1024  # bytes a page
SEEN = Path(__file__).with_name("seen.js")
SLIDER = """([index, end]) => {
  const input = document.querySelectorAll(".playground input[type=range]")[index];
  input.value = input[end];
  input.dispatchEvent(new Event("input", {bubbles: true}));
}"""
# Everything that can be turned on is turned on, so that a slider that belongs to it has something to do; then it runs a while.
WORK = """() => {
  const buttons = [...document.querySelectorAll(".playground button")], start = performance.now();
  buttons.filter((button) => button.getAttribute("aria-pressed") === "false").forEach((button) => button.click());
  const step = buttons.find((button) => button.textContent === "Step");
  for (let i = 0; step && i < 40; i++) step.click();
}"""
every_playground = pytest.mark.parametrize("name", playgrounds())
every_width = pytest.mark.parametrize("width", [768, 390])


@pytest.fixture
def show(browser):
    """show(name, ...): the playground alone on a page, with `seen()` and `drawnWords()`; closed after the test."""
    shown = []

    def open_page(name: str, **settings):
        shown.append(opened(browser, name, before=SEEN, **settings))
        return shown[-1]

    yield open_page
    for page in shown:
        page.close()


@every_playground
def test_every_slider_changes_the_drawing_or_a_number(show, name: str) -> None:
    page, dead = show(name), []
    for index in range(page.locator(".playground input[type=range]").count()):
        looks = []
        for end in ("min", "max"):
            page.evaluate(SLIDER, [index, end])
            looks.append(page.evaluate("seen()"))
        if looks[0] == looks[1] and not changes_later(show, name, index):
            dead.append(page.locator(".playground .slider .name").nth(index).inner_text())
    assert not dead, f"{name}: sliders that change nothing but their own label: {dead}"


def changes_later(show, name: str, index: int) -> bool:
    """Whether the two ends of a slider lead to different pictures after some steps from the same start."""
    looks = {}
    for end in ("min", "max", "min again"):
        page = show(name)
        page.evaluate(SLIDER, [index, end[:3]])
        page.evaluate(WORK)
        looks[end] = page.evaluate("seen()")
    assert looks["min"] == looks["min again"], f"{name}, slider {index}: two runs from one start differ, which proves nothing"
    return looks["min"] != looks["max"]


@every_playground
def test_every_choice_and_button_answers(show, name: str) -> None:
    page = show(name)
    for button in page.locator(".playground button").all():
        before = page.evaluate("seen()"), button.inner_text(), button.get_attribute("aria-pressed")
        if button.is_disabled():
            continue
        button.click()
        after = page.evaluate("seen()"), button.inner_text(), button.get_attribute("aria-pressed")
        assert before != after or not button.is_enabled(), f"{name}: nothing happens on {before[1]!r}"
        if after[1] == "Pause":
            button.click()


@every_playground
def test_the_keyboard_reaches_and_moves_everything(show, name: str) -> None:
    page = show(name)
    controls = page.locator(".playground :is(input, select, button:enabled)")
    count, reached = controls.count(), set()
    for _ in range(3 * count):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('.playground :is(input, select, button:enabled)')]"
                                  ".indexOf(document.activeElement)"))  # fmt: skip
        if len(reached - {-1}) == count:
            break
    assert reached >= set(range(count))
    for slider in page.locator(".playground input[type=range]").all():
        value, text = slider.input_value(), slider.get_attribute("aria-valuetext")
        slider.focus()
        at_the_end = float(value) + float(slider.get_attribute("step")) > float(slider.get_attribute("max"))
        page.keyboard.press("ArrowLeft" if at_the_end else "ArrowRight")
        assert slider.input_value() != value and slider.get_attribute("aria-valuetext") != text


@every_playground
def test_a_screen_reader_hears_names(show, name: str) -> None:
    page = show(name)
    unnamed = page.evaluate("""() => [...document.querySelectorAll(".playground :is(input, select, button)")].filter(control => {
      const label = control.labels && control.labels[0] ? control.labels[0].querySelector(".name") : control;
      return !label || !label.textContent.trim();
    }).length""")
    assert unnamed == 0
    for canvas in page.locator(".playground canvas").all():
        assert canvas.get_attribute("role") == "img" and len(canvas.get_attribute("aria-label") or "") > 25


@every_playground
@every_width
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_can_be_read_and_nothing_is_cut_off(show, name: str, width: int, theme: str) -> None:
    page = show(name, width=width, theme=theme)
    page.evaluate("document.querySelector('.playground').model.pose?.()")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    low = page.evaluate("""() => [...document.querySelectorAll(".playground :is(input, select, button)")]
      .filter((control) => control.getBoundingClientRect().height < 31.5).map((control) => control.outerHTML.slice(0, 80))""")
    assert not low, f"{name}: lower than 32 px: {low}"
    small = page.evaluate("""() => [...document.querySelectorAll(".playground :is(.name, output, button, select, option)")]
      .filter((e) => e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11).map((e) => e.textContent.trim())""")
    assert not small, f"{name}: words of controls smaller than 11 px: {small}"
    paper, words = rgba(page.evaluate("getComputedStyle(document.body).backgroundColor")), page.evaluate("drawnWords()")
    assert words
    assert not [word["text"] for word in words if word["px"] < 10.99], "smaller than 11 px"
    assert not [(word["text"], word["out"]) for word in words if word["out"] > 1], "beyond the edge of the drawing"
    pale = [(word["text"], word["color"]) for word in words if contrast(rgba(word["color"]), paper, word["alpha"]) < 4.5]
    assert not pale, f"{name}: contrast below 4.5 in {theme}: {pale}"


def rgba(color: str) -> tuple[float, ...]:
    """The four numbers of `#rrggbb`, `rgb(...)`, `rgba(...)` or `color(srgb ...)`, from 0 to 1.

    >>> rgba("#ff0000"), rgba("rgba(0, 255, 0, 0.5)"), rgba("color(srgb 0 0 1 / 0.16)")
    ((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 0.16))
    """
    if color.startswith("#"):
        return (*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)
    red, green, blue, *alpha = (float(number) for number in re.findall(r"[\d.]+", color))
    whole = 1 if color.startswith("color") else 255
    return (red / whole, green / whole, blue / whole, *(alpha or [1.0]))


def contrast(ink: tuple[float, ...], paper: tuple[float, ...], alpha: float = 1.0) -> float:
    """The contrast of WCAG 2 of two colours, the first of which may let the other through.

    >>> round(contrast((0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)))
    21
    >>> contrast((0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0), alpha=0.0)
    1.0
    """
    alpha *= ink[3]

    def luminance(color: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    seen = tuple(alpha * a + (1 - alpha) * b for a, b in zip(ink[:3], paper[:3], strict=True))
    low, high = sorted((luminance(seen), luminance(paper)))
    return high / low


@every_playground
def test_it_moves_only_where_it_may(show, name: str) -> None:
    page = show(name)
    play = page.locator(".playground button.play")
    if not play.count():
        before = page.evaluate("seen()")
        page.wait_for_timeout(300)
        assert page.evaluate("seen()") == before
        return
    assert play.inner_text() == "Play", "with reduced motion it starts paused"
    before = page.evaluate("seen()")
    page.wait_for_timeout(300)
    assert page.evaluate("seen()") == before
    moving = show(name, still=False)
    assert moving.locator(".playground button.play").inner_text() == "Pause"
    before = moving.evaluate("seen()")
    moving.wait_for_timeout(800)
    assert moving.evaluate("seen()") != before
    moving.evaluate("() => { document.body.append(Object.assign(document.createElement('div'), {style: 'height: 5000px'}));"
                    " window.scrollTo(0, 4000); }")  # fmt: skip
    moving.wait_for_timeout(400)
    before = moving.evaluate("seen()")
    moving.wait_for_timeout(400)
    assert moving.evaluate("seen()") == before, "out of view it goes on"


@every_playground
def test_nothing_is_fetched_and_nothing_fails(browser, name: str) -> None:
    context, asked, errors = browser.new_context(), [], []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = opened(context, name, still=False)
    page.wait_for_timeout(300)
    page.evaluate(WORK)
    context.close()
    assert not errors
    assert not [url for url in asked if not url.startswith("file://")]


@every_playground
def test_its_still_is_there_and_small(name: str) -> None:
    still = STILLS / f"{name}.png"
    assert still.is_file(), f"make it with `python -m tools.stills {name}`"
    assert still.read_bytes().startswith(b"\x89PNG") and still.stat().st_size <= HEAVIEST


def test_every_still_belongs_to_a_playground() -> None:
    assert {path.stem for path in STILLS.iterdir()} <= set(playgrounds())


def chapters() -> dict[str, list[str]]:
    """The playgrounds of each chapter that has one."""
    found = {}
    for path in notebooks():
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
        if names := names_in(source):
            found[str(path.relative_to(ROOT).with_suffix(""))] = names
    return found


def test_every_playground_stands_in_a_chapter() -> None:
    assert {name for names in chapters().values() for name in names} == set(playgrounds())


@pytest.mark.parametrize(("chapter", "names"), chapters().items())
def test_a_page_has_at_most_60_kilobytes_of_script(chapter: str, names: list[str]) -> None:
    sizes = {file: (FOLDER / file).stat().st_size for file in scripts(names)}
    assert sum(sizes.values()) <= SCRIPT, sizes


@pytest.mark.skipif(not (ROOT / HTML / "index.html").is_file(), reason="no _build/html: run `make book` first")
@pytest.mark.parametrize("page", pages())
def test_the_built_page_loads_scripts_only_for_its_playgrounds(page: str) -> None:
    path = ROOT / HTML / f"{page}.html"
    text = path.read_text(encoding="utf-8")
    loaded = re.findall(r'<script[^>]*_static/playgrounds/([\w.]+\.js)', text)
    names = chapters().get(page, [])
    assert loaded == (scripts(names) if names else [])
    assert ("playgrounds/playground.css" in text) == bool(names)
    stills = re.findall(r'<noscript><img src="([^"]+)" alt="([^"]+)"', text)
    assert len(stills) == len(names)
    assert all((path.parent / source).is_file() and len(alt) > 25 for source, alt in stills)
