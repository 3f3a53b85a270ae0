"""Fill README.md in this folder with the results: each table stands between `<!-- NAME -->` and `<!-- /NAME -->`.

`--check` changes nothing and fails where README.md does not show what results/ holds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from _common import RESULTS, markdown, say

README = Path(__file__).with_name("README.md")


def main() -> None:
    """Write, or compare."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="change nothing; exit 1 where README.md is behind")
    check = arguments.parse_args().check
    before = README.read_text(encoding="utf-8")
    after = filled(before, RESULTS)
    if check:
        sys.exit(after != before)
    README.write_text(after, encoding="utf-8")


def filled(text: str, results: Path) -> str:
    """The page with every result that there is in its place."""
    for path in sorted(results.glob("*.json")):
        if path.name.endswith(".quick.json"):
            continue
        name = path.stem
        place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
        at = place.search(text)
        if at is None:
            say(f"{path.name}: README.md has no place for it")
            continue
        table = markdown(json.loads(path.read_text(encoding="utf-8")))
        text = f"{text[: at.start()]}{at[1]}\n{table}\n{at[2]}{text[at.end() :]}"
    return text


if __name__ == "__main__":
    main()
