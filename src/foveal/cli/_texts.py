"""Results as text: aligned tables for a person, JSON for a program (CSV for a spreadsheet: files/spreadsheet.py)."""

from __future__ import annotations

from foveal.files.plain_json import json_text
from foveal.files.plain_table import percent, table

__all__ = ["json_text", "percent", "table"]
