"""Sliders in a live notebook, and the same figure without sliders on a rendered page."""

import contextlib
import io
import os
from collections.abc import Callable, Sequence

from ..common.progress import is_static

Slider = tuple[float, float, float, float]  # lowest, highest, step, start


def explore(draw: Callable[..., object], **controls: "Slider | Sequence[str]") -> None:
    """Draws a figure with a slider or a menu for each keyword; outside a live notebook, once and with the start values.

    Args:
        draw: a function of the named quantities that draws a figure.
        controls: (lowest, highest, step, start) for a slider, or a list of names for a menu, which starts with the first one.

    Raises:
        ValueError: controls of another form, or none.

    Example:
        >>> explore(lambda gain: print(gain), gain=(0.1, 2.0, 0.1, 1.0))  # doctest: +SKIP
    """
    if not controls:
        raise ValueError("controls: got none, expected a keyword for each quantity that the reader may move")
    starts = {}
    for name, control in controls.items():
        if isinstance(control, tuple) and len(control) == 4 and control[0] <= control[3] <= control[1] and control[2] > 0:
            starts[name] = control[3]
        elif isinstance(control, list) and control:
            starts[name] = control[0]
        else:
            raise ValueError(f"{name}: got {control!r}, expected (lowest, highest, step, start) or a list of names")
    if not is_static():
        try:
            import ipywidgets
        except ImportError:
            pass
        else:
            ipywidgets.interact(draw, **{name: _widget(ipywidgets, control) for name, control in controls.items()})
            return
    draw(**starts)
    if _is_driven():
        _drive(draw, controls)


def _widget(ipywidgets, control):
    """The slider or the menu of one control."""
    if isinstance(control, list):
        return ipywidgets.Dropdown(options=control, value=control[0])
    lowest, highest, step, start = control
    whole = all(isinstance(v, int) for v in control)
    # The figure is drawn again only when the reader releases the slider; otherwise slow figures would wait in a queue.
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(min=lowest, max=highest, step=step, value=start, continuous_update=False)


def _is_driven() -> bool:
    """True while the book's tests run its chapters: then each control is also moved to both of its ends."""
    return os.environ.get("SALNB_DRIVE_WIDGETS", "") not in ("", "0")


def _drive(draw: Callable[..., object], controls: dict) -> None:
    """Draws at both ends of all controls and throws the pictures away; what goes wrong there stops the cell that called."""
    for end in (0, -1):
        settings = {name: control[end] if isinstance(control, list) else control[1 if end else 0]
                    for name, control in controls.items()}  # fmt: skip
        try:
            from IPython.utils.capture import capture_output
        except ImportError:
            unseen = contextlib.redirect_stdout(io.StringIO())
        else:
            unseen = capture_output()
        try:
            with unseen:
                draw(**settings)
        except Exception as error:
            raise RuntimeError(f"explore: the figure cannot be drawn at {settings}: {error}") from error
        finally:
            with contextlib.suppress(ImportError):
                from matplotlib import pyplot

                pyplot.close("all")
