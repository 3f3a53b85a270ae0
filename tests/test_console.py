"""Progress: bars where a person looks, plain lines where a log is written."""

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.console import LINE_EVERY_SECONDS, LINES_IN_A_CELL, Lines, Notebook, Terminal, duration, heard, safe
from foveal.progress import SILENT


class Clock:
    """Time that passes when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_every_five_seconds_at_most():
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock).task("decoding", 100) as advance:
        for _ in range(100):
            clock.now += 0.3  # 30 s in all
            advance(1)
    lines = out.getvalue().splitlines()
    assert 4 <= len(lines) <= 30 / LINE_EVERY_SECONDS
    assert lines[0] == "decoding: 17 of 100 pictures (17%), 25 s left"


def test_what_is_over_at_once_writes_no_line():
    out = io.StringIO()
    with Lines(out, Clock()).task("decoding", 10) as advance:
        advance(10)
    assert out.getvalue() == ""


@pytest.mark.parametrize("total", [0, 1])
def test_more_steps_than_announced_do_no_harm(total):
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock).task("decoding", total) as advance:
        clock.now += 60
        advance(5)
    assert out.getvalue() == ""


def test_without_a_known_end_it_is_told_how_far_things_are():
    out, clock = io.StringIO(), Clock()
    with Lines(out, clock).task("predicting", None) as advance:
        clock.now += 6
        advance(300, "slowly")
    assert out.getvalue() == "predicting: 300 pictures, slowly\n"
    rich = pytest.importorskip("rich.console")
    terminal = Terminal(rich.Console(file=out, force_terminal=True, width=100))
    with terminal.task("predicting", None) as advance:
        advance(300)
        assert terminal._bars is not None
        terminal._bars.refresh()
    assert "300 pictures" in out.getvalue()
    assert "left" not in out.getvalue()


def test_progress_counts_right_from_many_threads():
    rich = pytest.importorskip("rich.console")
    out = io.StringIO()
    terminal = Terminal(rich.Console(file=out, force_terminal=True, width=100))
    with terminal.task("decoding", 8000) as advance:
        threads = [threading.Thread(target=lambda: [advance(1) for _ in range(1000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert terminal._bars is not None
        assert terminal._bars.tasks[0].completed == 8000
    assert terminal._bars is None


def test_bars_may_lie_within_each_other_and_are_wiped_away():
    rich = pytest.importorskip("rich.console")
    out = io.StringIO()
    terminal = Terminal(rich.Console(file=out, force_terminal=True, width=100))
    with terminal.task("epochs", 2, "epochs") as outer:
        with terminal.task("epoch [1]", 3, "steps") as inner:
            inner(3)
        terminal.say("epoch 1 [bold]done[/bold] \x1b[2J")
        outer(1)
    text = out.getvalue()
    assert "epoch 1 [bold]done[/bold]" in text  # a note is text, never markup
    assert "\x1b[2J" not in text
    assert "epoch [1]" in text


@given(st.text())
def test_what_is_said_holds_no_control_characters_but_line_ends(text):
    assert all(c == "\n" or c.isprintable() for c in safe(text))


@given(st.floats(0, 1e6))
def test_a_duration_is_told_in_two_units_at_most(seconds):
    words = duration(seconds).split()
    assert len(words) in (2, 4)
    assert all(int(words[i]) < 60 for i in range(2, len(words), 2))


class Cell:
    """A notebook's cell: its outputs as they are now."""

    def __init__(self):
        self.outputs, self.drawn = [], 0

    def __call__(self, data, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append(data)
        at, cell = len(self.outputs) - 1, self

        class Handle:
            def update(self, data, raw):
                cell.outputs[at] = data
                cell.drawn += 1

        return Handle()


def test_a_cell_of_a_notebook_has_one_output_that_ends_as_what_was_said():
    cell, clock = Cell(), Clock()
    notebook = Notebook(cell, clock)
    with notebook.task("training <b>", 100) as advance:
        advance(0)
        assert cell.outputs == []  # what is over at once shows nothing
        clock.now += 1
        advance(40, "loss 0.3")
        (output,) = cell.outputs
        assert output["text/plain"] == "training <b>: 40 of 100 pictures (40%), 2 s left, loss 0.3"
        assert "value='40'" in output["text/html"]
        assert "training &lt;b&gt;" in output["text/html"]
        for _ in range(50):
            advance(1)  # within a blink
        assert cell.drawn == 0
        notebook.say("epoch 1")
    (output,) = cell.outputs
    assert output["text/plain"] == "epoch 1"
    assert "progress" not in output["text/html"]


def test_a_long_training_does_not_flood_a_notebook():
    cell = Cell()
    notebook = Notebook(cell, Clock())
    for number in range(1000):
        notebook.say(f"epoch {number}")
    (output,) = cell.outputs
    lines = output["text/plain"].splitlines()
    assert len(lines) == LINES_IN_A_CELL + 1
    assert lines[0] == f"({1000 - LINES_IN_A_CELL} earlier lines)"
    assert lines[-1] == "epoch 999"


def test_a_bar_goes_with_what_failed():
    cell, clock = Cell(), Clock()
    notebook = Notebook(cell, clock)

    def failing():
        with notebook.task("decoding", 10) as advance:
            clock.now += 1
            advance(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        failing()
    assert cell.outputs[0]["text/plain"] == "decoding: 1 pictures, 1 s"


def test_progress_is_shown_unless_it_is_asked_not_to(capsys):
    assert heard(None) is SILENT
    assert heard(SILENT) is SILENT
    shown = heard("auto")
    assert isinstance(shown, Lines)  # no terminal and no notebook here
    shown.say("on stderr")
    assert capsys.readouterr() == ("", "on stderr\n")
