"""Write the table of networks into README.md and docs/networks.md, and their index, from the catalogue.

This is `make networks`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from foveal.networks.catalogue import NETWORKS, table_of
from foveal.networks.entry import Entry
from foveal.networks.index import FILE, index_text
from foveal.networks.layers import in_sides

ROOT = Path(__file__).parents[1]
HEAD = ("network", "year", "parameters", "multiply-adds", "receptive field", "ImageNet top-1", "smallest", "paper")
# The README shows one of each paper.
LANDMARKS = (
    "lenet5_1998", "lenet5", "alexnet_2012", "alexnet", "vgg16", "nin", "googlenet_2014", "googlenet", "inception_v2",
    "inception_v3", "inception_v4", "inception_resnet_v1", "inception_resnet_v2", "resnet50", "resnet20",
    "densenet121", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_lite0",
    "darknet53", "speednet",
)  # fmt: skip


def row(entry: Entry) -> str:
    """A line of Markdown: everything but the words is counted, at the size that the network was made for."""
    table = table_of(entry.name)
    field = in_sides(table.as_dict()["totals"]["receptive_field"])
    top1 = f"{entry.weights.top1:.2f} %" if entry.weights else "–"
    counted = (f"{table.parameters:,}", f"{in_millions(table.multiply_adds)} at {entry.natural}²")
    cells = (f"`{entry.name}`", str(entry.year), *counted, field, top1, f"{entry.smallest}²", entry.paper)
    return f"| {' | '.join(cells)} |"


def in_millions(n: int) -> str:
    """4 089 184 256 -> "4,089 M"."""
    return f"{n / 1e6:,.0f} M" if n >= 1e7 else f"{n / 1e6:.2f} M"


def markdown(entries: Iterable[Entry]) -> str:
    """The whole table."""
    aligned = "|---|---|---:|---:|---:|---:|---:|---|"
    return "\n".join([f"| {' | '.join(HEAD)} |", aligned, *map(row, entries)])


def filled(page: str, table: str) -> str:
    """The page with the table between its marks."""
    marks = re.compile(r"(<!-- networks -->\n).*?(<!-- /networks -->)", re.DOTALL)
    return marks.sub(lambda match: f"{match[1]}\n{table}\n\n{match[2]}", page)


def main() -> None:
    """Write all three; with --check, only say whether they are as they should be."""
    wanted = {FILE: index_text(NETWORKS)}
    pages = (("README.md", [NETWORKS[name] for name in LANDMARKS]), ("docs/networks.md", NETWORKS.values()))
    for name, entries in pages:
        wanted[ROOT / name] = filled((ROOT / name).read_text(encoding="utf-8"), markdown(entries))
    stale = {path: text for path, text in wanted.items() if path.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv:
        if stale:
            names = " and ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{names}: not as the catalogue has it; run make networks")
        return
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
