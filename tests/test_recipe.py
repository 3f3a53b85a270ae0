"""Recipes as text: whatever a file or --set holds is a recipe or one sentence, soon and in little memory."""

from __future__ import annotations

import random
import time
import tomllib
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import BadRecipe
from foveal.files.plain_toml import DEEPEST, MOST_PARTS, BadToml, parse_toml
from foveal.recipe import Recipe, parse_recipe, parse_setting

SECONDS, MIB = 3.0, 40  # of the parser on a mebibyte, on a machine that others use as well

HOSTILE = {
    "dots": "a" + ".a" * 500_000 + " = 1",
    "dots with spaces": "a" + " . a" * 250_000 + " = 1",
    "quoted parts": '""' + '.""' * 300_000 + " = 1",
    "a section of many parts": "[a" + ".a" * 500_000 + "]\nx = 1",
    "a table of tables of many parts": "[[a" + ".a" * 500_000 + "]]\nx = 1",
    "an inline table": "x = {a" + ".a" * 500_000 + " = 1}",
    "inline tables in each other": "x = " + "{a = " * 100_000 + "1" + "}" * 100_000,
    "arrays in each other": "x = " + "[" * 500_000 + "]" * 500_000,
    "arrays behind a comment": "# [[[\nx = " + "[\n# ]\n" * 10_000,
    "digits": "x = " + "9" * 1_000_000,
    "hexadecimal digits": "x = 0x" + "9" * 1_000_000,
    "a fraction": "x = 0." + "9" * 1_000_000,
    "a date": "x = 2024-01-01T00:00:00." + "9" * 1_000_000,
    "a key": "a" * 1_000_000 + " = 1",
    "unclosed": 'x = """' + '\\"""' * 200_000,
    "quotes": '"' * 1_000_000,
    "apostrophes": "'" * 1_000_000,
    "backslashes": 'x = "' + "\\" * 1_000_000,
    "escapes": 'x = "' + "\\n" * 500_000 + '"',
    "long keys, many times": "".join(f"{'a.' * 15}b{n} = 1\n" for n in range(15_000)),
    "tables of tables": "[[a.b.c.d.e.f.g.h]]\nx = 1\n" * 30_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_recipe_is_told_soon_and_in_little_memory(what):
    began = time.perf_counter()
    with pytest.raises(BadRecipe) as refused:
        parse_recipe(HOSTILE[what])
    assert time.perf_counter() - began < SECONDS
    assert len(str(refused.value)) < 400


def test_dots_cost_no_memory():
    tracemalloc.start()
    with pytest.raises(BadRecipe, match=rf"recipe \(line 1\): a key of more than {MOST_PARTS} parts"):
        parse_recipe(HOSTILE["dots"])
    assert tracemalloc.get_traced_memory()[1] < MIB << 20
    tracemalloc.stop()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_setting_is_a_text_or_refused_soon(what):
    text = HOSTILE[what][:120_000]
    began = time.perf_counter()
    for typed in (f"network.name={text}", f"network.name={{{text}}}", f"network.{text}"):
        with pytest.raises(BadRecipe) as refused:
            Recipe().with_settings(dict([parse_setting(typed)])).with_settings({"data.size": "no"})
        assert len(str(refused.value)) < 400
    assert time.perf_counter() - began < SECONDS


def test_a_setting_of_two_lines_is_one_text():
    assert parse_setting("data.source=1\nx = 2") == ("data.source", "1\nx = 2")
    assert parse_setting("training.epochs=3  # few") == ("training.epochs", 3)


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1])
def test_brackets_in_strings_and_comments_do_not_count(depth):
    inside = "[" * 50 + "." * 50
    told = f"\"{inside}\" = ['{inside}', \"\"\"{inside}\n\"{inside}\"\"\", '''{inside}'{inside}'''] # {inside}\n"
    assert list(parse_toml(told)) == [inside]
    nested = "x = " + "[" * depth + "]" * depth
    if depth <= DEEPEST:
        assert parse_toml(told + nested) == tomllib.loads(told + nested)
    else:
        with pytest.raises(BadToml, match=r"\(line 3\) is nested too deeply"):
            parse_toml(told + nested)


def test_any_text_is_parsed_as_the_library_does_or_refused():
    pieces = ["a", ".", "=", "\n", '"', "'", '"""', "'''", "[", "]", "{", "}", ",", "#", "\\", " ", "1", "1.5", "[a]\n",
              "a = 1\n", "b.c = 'x'\n", "é", "\r\n", "\t", "2024-01-01", "true"]  # fmt: skip
    draw = random.Random(0)
    for _ in range(4000):
        text = "".join(draw.choices(pieces, k=draw.randrange(30)))
        assert outcome(parse_toml, text) == outcome(tomllib.loads, text), text


def outcome(parse: Callable[[str], dict[str, Any]], text: str) -> Any:
    """What a parser makes of a text: its tree, or what is wrong with it."""
    try:
        return parse(text)
    except ValueError as error:
        return str(error).removeprefix(": ")


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_every_recipe_that_is_written_is_read_again(source, name):
    recipe = Recipe().with_settings({"data.source": source, "network.name": name})
    try:
        written = recipe.to_toml().encode("utf-8").decode()
    except UnicodeEncodeError:
        return  # a lone surrogate, which no text file holds
    assert parse_recipe(written) == recipe
