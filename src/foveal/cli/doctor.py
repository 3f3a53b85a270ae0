"""`foveal doctor`: is everything here that makes foveal quick, and if not, what is amiss?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foveal.doctor import Checkup

__all__ = ["doctor"]


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Check the machine and the installation; prints one screen to paste into a bug report.

    \b
    Examples:
      foveal doctor
      foveal doctor --json > machine.json
    """
    from foveal.cli import _texts
    from foveal.doctor import examine

    found = examine()
    print(_texts.json_text(found.as_dict()) if as_json else "\n".join(_lines(found)))


def _lines(found: Checkup) -> list[str]:
    from foveal.errors import shown
    from foveal.files.safely import in_bytes

    first, *others = (f"{name} {version}" for name, version in found.versions.items())
    played = f" (limited by {', '.join(f'{k}={v}' for k, v in found.limits.items())})" if found.limits else ""
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in found.convolution.items())
    waits = ", ".join(f"{name}={value}" for name, value in found.waiting.items()) or "the runtime's default"
    facts = {
        "versions": ", ".join([first, *others]),
        "system": found.system,
        "processor": f"{found.processor}: {found.instructions}{played}",
        "cores": f"{found.cores_allowed} of {found.cores} usable, {found.threads} compute threads",
        "waiting": waits,
        "convolution": f"{rates}, on one core; bf16 {'is tried' if found.bf16_pays else 'is slower here: not tried'}",
        "memory": "unknown"
        if found.memory is None or found.memory_free is None
        else f"{in_bytes(found.memory)}, {in_bytes(found.memory_free)} free",
        "devices": "; ".join(found.devices),
        "cache": "none"
        if found.cache is None
        else f"{in_bytes(found.cache.bytes)} in {shown(found.cache.folder)}, {in_bytes(found.cache.free)} free",
        "weights": "none",
        "data": ", ".join(shown(folder) for folder in found.data) or "FOVEAL_DATA is not set",
    }
    if found.weights:
        facts["weights"] = "; ".join(f"{name} ({shown(place)})" for name, place in found.weights.items())
    width = max(map(len, facts)) + 2
    lines = [f"{name:{width}}{value}" for name, value in facts.items()]
    amiss = [f"- {sentence}" for sentence in found.amiss]
    return [*lines, "", *(["problems:", *amiss] if amiss else ["no problems found"])]
