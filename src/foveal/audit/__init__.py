"""What a data set is worth before anything is learnt from it: `check` looks, `write_check` tells."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Findings": "foveal.audit.findings",
    "check": "foveal.audit.checking",
    "write_check": "foveal.audit.page",
}

__all__ = ["Findings", "check", "write_check"]

if TYPE_CHECKING:
    from foveal.audit.checking import check
    from foveal.audit.findings import Findings
    from foveal.audit.page import write_check


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'foveal.audit' has no attribute {name!r}")
