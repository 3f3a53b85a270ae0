"""From a `Page` to one HTML file that needs nothing beside it.

Everything is inside: charts as SVG in the inks of the reader's light or dark scheme, pictures as PNG or WebP. The
page's own policy forbids it any connection, and every text goes through `safe` and Jinja's escaping on its way in.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from foveal import __version__
from foveal.files.durable import write_text
from foveal.pages import words
from foveal.pages.page import Alarm, Block, Facts, Page, safe

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page_file", "render", "special", "write_page"]


def write_page(page: Page, path: Path) -> None:
    """Write the page.

    Raises: NotWritable or NoSpace when the place refuses it.
    """
    write_text(path, render(page))


def render(page: Page) -> str:
    """The page as text."""
    script = page_file("page.js") if page.script else ""
    return _environment().get_template("base.html.jinja").render(
        page=page,
        alarm=Alarm(page.warnings, "* Read this score with care."),
        facts=Facts(page.facts),
        version=__version__,
        style=Markup(page_file("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def special(macro: str, **values: Any) -> Markup:
    """What a macro of `special.html.jinja` makes of some values; texts in them are escaped there."""
    module = _environment().get_template("special.html.jinja").module
    return Markup(getattr(module, macro)(**values))


def page_file(name: str) -> str:
    """A file that lies beside this one."""
    return resources.files("foveal.pages").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """Templates that lie beside this file, with the words that they use; no text gets past `safe`."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(page_file),
        finalize=lambda value: safe(value) if type(value) is str else value,
    )
    environment.filters.update(count=words.count, size=words.bytes_in_words)
    environment.globals["draw"] = _draw
    return environment


def _draw(block: Block) -> Markup:
    """A block by the macro of its kind."""
    module = _environment().get_template("kinds.html.jinja").module
    return Markup(getattr(module, block.kind)(block))
