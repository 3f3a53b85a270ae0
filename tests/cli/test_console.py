"""Progress: bars where a person looks, plain lines where a log is written."""

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.cli.console import LINE_EVERY_SECONDS, Lines, Terminal, duration, safe


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
