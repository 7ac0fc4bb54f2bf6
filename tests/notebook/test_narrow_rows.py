"""Notes at the right of named rows stand below the names on a phone, and where they were afterwards."""

from matplotlib import pyplot as plt

from salnb.notebook.narrow_figures import narrow


def test_notes_come_to_stand_below_the_names_of_their_rows() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3), layout="constrained")
    ax.plot([0.1, 0.5, 1.0], [0, -1, -2], "o")
    notes = [ax.text(1.2, -row, f"{row} of 16", va="center") for row in range(3)]
    ax.set_yticks([0, -1, -2], ["one", "two", "three"])
    ax.set(xlim=(0, 1.6))
    with narrow(figure):
        figure.draw_without_rendering()
        assert not any(note.get_visible() for note in notes) and ax.get_xlim()[1] < 1.2
        copies = [text for text in ax.texts if text.get_visible()]
        assert sorted(text.get_text() for text in copies) == ["0 of 16", "1 of 16", "2 of 16"]
        assert all(text.get_window_extent().x1 <= ax.bbox.x0 for text in copies)
    figure.draw_without_rendering()
    assert all(note.get_visible() for note in notes) and len(ax.texts) == 3 and ax.get_xlim() == (0, 1.6)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two", "three"]
    assert tuple(figure.get_size_inches()) == (7.4, 3)
    plt.close(figure)


def test_a_panel_without_ticks_is_drawn_for_a_phone_too() -> None:
    figure, ax = plt.subplots(figsize=(7.4, 3))
    note = ax.text(0.9, 0.5, "a note at the right")
    ax.set_yticks([])
    with narrow(figure):
        figure.draw_without_rendering()
        assert note.get_visible() and note.get_text().split() == "a note at the right".split()
    plt.close(figure)
