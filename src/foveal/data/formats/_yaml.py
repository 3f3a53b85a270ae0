"""YAML from outside: lists, mappings and texts, each as it is written. Nothing of it becomes a number, a date or code.

YAML makes False of `no`, 8 of `010` and a date of 2020-01-01; class names are none of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from foveal.errors import BadData, shown
from foveal.files.safely import read_bytes

if TYPE_CHECKING:
    from yaml.nodes import Node

__all__ = ["Value", "read_yaml"]

YAML_MAX_BYTES = 1 << 18  # 1,000 class names are 20 KB, and the reader takes seconds a megabyte
DEPTH_MAX = 20
Value: TypeAlias = "str | list[Value] | dict[str, Value]"


def read_yaml(path: Path) -> Value:
    """The texts of a YAML file, in lists and mappings.

    Raises: BadData for tags and references, before anything is made of them; for a key that appears twice.
    """
    import yaml

    raw = read_bytes(path, limit=YAML_MAX_BYTES, what="YAML file", error=BadData)
    try:
        depth = 0
        for event in yaml.parse(raw, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent):
                raise BadData(f"{shown(path)} uses a YAML reference (*), which foveal does not read; write it out.")
            if getattr(event, "tag", None):
                raise BadData(f"{shown(path)} uses the YAML tag {shown(event.tag)[:80]}, which foveal does not read.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise BadData(f"{shown(path)} is too deeply nested.")
        node = yaml.compose(raw, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise BadData(f"{shown(path)} is not valid YAML{line}.") from None
    return "" if node is None else _value(node, path)


def _value(node: Node, path: Path) -> Value:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_value(inside, path) for inside in node.value]
    if not isinstance(node, yaml.MappingNode):
        return str(node.value)
    found: dict[str, Value] = {}
    for key, inside in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in found:
            what = (
                f'"{shown(key.value)[:40]}" appears twice' if isinstance(key, yaml.ScalarNode) else "a key is no text"
            )
            raise BadData(f"{shown(path)}, line {key.start_mark.line + 1}: {what}.")
        found[key.value] = _value(inside, path)
    return found
