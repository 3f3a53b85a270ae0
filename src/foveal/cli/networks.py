"""`foveal networks`: what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["networks"]


def networks(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the networks that `foveal train --network` knows.

    \b
    Examples:
      foveal networks
      foveal networks --json
    """
    from foveal.cli import _texts
    from foveal.networks.catalogue import NETWORKS

    entries = list(NETWORKS.values())
    if as_json:
        facts = [{"name": e.name, "paper": e.paper, "year": e.year, "smallest": e.smallest} for e in entries]
        print(_texts.json_text(facts))
        return
    rows = [[e.name, str(e.year), f"{e.smallest} px", e.paper] for e in entries]
    print(_texts.table(["network", "year", "smallest picture", "paper"], rows))
