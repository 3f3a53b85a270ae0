"""`foveal networks`: what can be trained, what it is made of, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.errors import BadRecipe, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foveal.networks.entry import Entry
    from foveal.networks.layers import LayerTable

__all__ = ["networks"]


Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]…", help="A network's name, a notation in quotes, or a file with one."),
]
Size = Annotated[
    str | None, typer.Option(metavar="S|HxW", help="Input size: pixels a side, or height x width. [the network's own]")
]
Channels = Annotated[int | None, typer.Option(metavar="C", min=1, help="Input channels. [the network's own]")]
Classes = Annotated[int | None, typer.Option(metavar="K", min=1, help="Number of classes. [the network's own]")]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the layer table and a drawing to an offline HTML page.")
]
Diagram = Annotated[bool, typer.Option("--diagram", help="Draw the network's typical block, or all of it.")]
Why = Annotated[
    str | None, typer.Option("--why-convolve", metavar="HxWxC", help="Compare a convolution with a dense layer.")
]


def networks(
    names: Names = None,
    size: Size = None,
    channels: Channels = None,
    classes: Classes = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare several networks, with their speed on this machine.")
    ] = False,
    diagram: Diagram = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the layer table as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    html: Html = None,
    why: Why = None,
    filters: Annotated[int, typer.Option(metavar="N", min=1, help="Filters, with --why-convolve.")] = 6,
    kernel: Annotated[int, typer.Option(metavar="K", min=1, help="Kernel size in pixels, with --why-convolve.")] = 5,
) -> None:
    """List the networks, or show one layer by layer.

    \b
    Examples:
      foveal networks                                        all of them
      foveal networks resnet50 --size 224                    layer by layer: shapes, parameters, receptive fields
      foveal networks "conv 25 3x3, pool 2, flatten, dense 10" --size 28 --channels 1
      foveal networks googlenet --diagram                    its block, drawn
      foveal networks resnet50 --html resnet50.html          a picture of it
      foveal networks --compare resnet18 mobilenet_v3_small  side by side, timed on this machine
      foveal networks --why-convolve 32x32x3 --filters 6 --kernel 5
    """
    if why is not None:
        return _why(why, filters, kernel, as_json)
    if not names:
        if compare or diagram or as_csv or html or size or channels or classes:
            raise BadRecipe("name the networks to show, such as: foveal networks resnet50 --diagram")
        return _list(as_json)
    _check_forms({"--diagram": diagram, "--csv": as_csv, "--json": as_json, "--html": html}, compare)
    if compare:
        return _compare(names, size, channels, classes, as_json)
    if len(names) > 1:
        raise BadRecipe(f"give one network, or --compare {' '.join(map(shown, names))}; put a notation in quotes.")
    return _show(names[0], size, channels, classes, diagram, as_csv, as_json, html)


def _check_forms(forms: dict[str, Any], compare: bool) -> None:
    """Raises: BadRecipe for what would not be written."""
    given = [name for name, asked in forms.items() if asked]
    if compare and set(given) - {"--json"}:
        raise BadRecipe(f"--compare prints a table, or JSON with --json; drop {given[0]}.")
    if len(given) > 1:
        raise BadRecipe(f"{given[0]} and {given[1]} both say how to show the network; give one of them.")


def _list(as_json: bool) -> None:
    from foveal.cli import _texts
    from foveal.networks.catalogue import NETWORKS

    entries = list(NETWORKS.values())
    if as_json:
        print(_texts.json_text([_facts(entry) for entry in entries]))
        return
    rows = []
    for e in entries:
        top1 = f"{e.weights.top1:.2f} %" if e.weights else "–"
        rows.append([e.name, str(e.year), str(e.smallest), str(e.natural), top1, _here(e) or "–", e.paper])
    print(_texts.table(["network", "year", "smallest", "made for", "ImageNet top-1", "here", "paper"], rows))


def _here(entry: Entry) -> str | None:
    """Where published weights lie on this machine: "package", "data" (below FOVEAL_DATA), "cache"."""
    from foveal.networks.weights import lying_here

    lying = lying_here(entry) if entry.weights else None
    return lying.where if lying else None


def _facts(entry: Entry) -> dict[str, Any]:
    weights = entry.weights
    return {
        "name": entry.name,
        "paper": entry.paper,
        "year": entry.year,
        "smallest": entry.smallest,
        "natural": entry.natural,
        "weights": None
        if weights is None
        else {
            "url": weights.url or None,
            "package": weights.package.name if weights.package else None,
            "top1": weights.top1,
            "source": weights.source,
            "licence": weights.licence,
            "here": _here(entry),
        },
    }


def _show(
    name: str,
    size: str | None,
    channels: int | None,
    classes: int | None,
    diagram: bool,
    as_csv: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    from foveal.networks.facts import check_size
    from foveal.networks.index import full_name

    name, wanted = full_name(name), _size(size)
    if wanted is not None:
        check_size(name, wanted)  # a slip is told before PyTorch is imported
    from foveal.cli import _texts
    from foveal.networks import diagram as drawing
    from foveal.networks.catalogue import find, table_of
    from foveal.networks.layers import layers_csv

    entry = find(name)
    table = table_of(entry.name, wanted, channels, classes)
    if html is not None:
        from foveal.report.network_page import write_network

        write_network(entry.name, f"{entry.paper}", table, html)
        print(f"written to {shown(html)}")
    elif diagram:
        print(drawing.diagram(table, entry.block))
    elif as_csv:
        print(layers_csv(table), end="")
    elif as_json:
        print(_texts.json_text({"network": entry.name, "size": list(table.size), **table.as_dict()}))
    else:
        print(_told(table))


def _told(table: LayerTable) -> str:
    from foveal.cli import _texts
    from foveal.files.safely import in_bytes
    from foveal.networks.layers import in_sides

    head = [
        "layer",
        "kind",
        "output",
        "activations",
        "parameters",
        "multiply-adds",
        "bytes",
        "field",
        "stride",
        "offset",
    ]
    rows = []
    for layer in table.layers:
        facts = layer.as_dict()
        places = [in_sides(facts[key]) for key in ("receptive_field", "stride", "offset")]
        numbers = [f"{n:,}" for n in (layer.multiply_adds, layer.bytes)]
        kind = f"{layer.kind} {layer.settings}".strip()
        shape = "×".join(map(str, layer.shape))
        rows.append([layer.name, kind, shape, f"{layer.activations:,}", layer.formula or "0", *numbers, *places])
    totals = table.as_dict()["totals"]
    lines = [
        _texts.table(head, rows),
        "",
        f"parameters       {table.parameters:,}",
        f"multiply-adds    {table.multiply_adds:,} for one picture of {table.size[0]}x{table.size[1]}",
        f"receptive field  {in_sides(totals['receptive_field'])} pixels, of the last feature map",
        f"memory           {in_bytes(table.inference_bytes)} for prediction, "
        f"{in_bytes(table.training_bytes)} for training, one picture at a time in float32",
    ]
    return "\n".join(lines)


def _compare(names: Sequence[str], size: str | None, channels: int | None, classes: int | None, as_json: bool) -> None:
    from foveal.cli import _texts, console
    from foveal.files.safely import in_bytes
    from foveal.networks.facts import check_size
    from foveal.networks.index import check_name

    wanted = _size(size)
    for name in names:
        check_name(name)
        if wanted is not None:
            check_size(name, wanted)
    from foveal.networks.layers import in_sides
    from foveal.training.comparison import compare

    compared = compare(names, wanted, channels, classes, console.progress())
    if as_json:
        print(_texts.json_text([one.as_dict() for one in compared]))
        return
    head = ["network", "size", "classes", "parameters", "multiply-adds", "field", "to predict", "to train",
            "ImageNet top-1", "trains here, pictures/s"]  # fmt: skip
    rows = []
    for one in compared:
        totals = one.as_dict()
        rows.append([
            one.name,
            "x".join(map(str, (*one.shape.size, one.shape.channels))),
            str(one.shape.classes),
            f"{one.table.parameters:,}",
            f"{one.table.multiply_adds:,}",
            in_sides(totals["receptive_field"]),
            in_bytes(one.table.inference_bytes),
            in_bytes(one.table.training_bytes),
            "–" if one.top1 is None else f"{one.top1:.2f} %",
            f"{one.images_per_second:.1f} ({one.arithmetic})",
        ])  # fmt: skip
    print(_texts.table(head, rows))


def _why(shape: str, filters: int, kernel: int, as_json: bool) -> None:
    from dataclasses import asdict

    from foveal.cli import _texts
    from foveal.ops.arithmetic import why_convolve

    try:
        height, width, channels = (int(part) for part in shape.lower().replace("×", "x").split("x"))
        found = why_convolve((height, width, channels), filters, kernel)
    except ValueError as error:
        raise BadRecipe(f"--why-convolve {shown(shape)}: it takes HxWxC, such as 32x32x3 ({error}).") from None
    if as_json:
        print(_texts.json_text(asdict(found)))
        return
    inside, outside = ("×".join(map(str, s)) for s in (found.input_shape, found.output_shape))
    h, w = found.kernel
    inputs, outputs = height * width * channels, found.dense_weights // (height * width * channels)
    print(f"{filters} filters of {h}×{w} turn {inside} into {outside}.")
    print(f"  as a convolution: ({h}·{w}·{channels} + 1)·{filters} = {found.convolution_parameters:,} parameters")
    if channels > 1:
        print(f"    (on a grey picture: ({h}·{w}·1 + 1)·{filters} = {found.grey_parameters:,})")
    print(f"  as a dense layer: {inputs} × {outputs} = {found.dense_weights:,} weights")
    print(f"Sharing weights saves a factor of {found.ratio:,.0f}.")


def _size(text: str | None) -> tuple[int, int] | None:
    from foveal.recipe import parse_size

    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise BadRecipe(f"--size {error}") from None
