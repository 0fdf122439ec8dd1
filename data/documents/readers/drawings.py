"""Charts and SmartArt of Office files: their titles, data and texts, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from data.documents.readers.extracted import markdown_table

_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_NEW_CHART = "{http://schemas.microsoft.com/office/drawing/2014/chartex}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_NO_TEXT = ("pres", "parTrans", "sibTrans")  # points of a diagram that are no text


def drawing_blocks(element: Any, part: Any) -> Iterator[str]:
    """The charts and SmartArt below an element.

    Args:
        part: the part of the file that the element stands in, whose relations name the parts of the drawings.
    """
    from lxml import etree

    for node in element.iter(f"{_CHART}chart", f"{_NEW_CHART}chart", f"{_DIAGRAM}relIds"):
        name = node.get(f"{_RELATION}dm") if node.tag == f"{_DIAGRAM}relIds" else node.get(f"{_RELATION}id")
        if name is None or name not in part.rels or part.rels[name].is_external:
            continue
        blob = part.rels[name].target_part.blob
        root = etree.fromstring(blob, etree.XMLParser(resolve_entities=False, no_network=True))
        if node.tag == f"{_CHART}chart":
            yield from _chart(root)
        elif node.tag == f"{_NEW_CHART}chart":
            yield from _new_chart(root)
        else:
            yield from _diagram(root)


def _text(element: Any) -> str:
    """The text of an element's paragraphs, on one line."""
    if element is None:
        return ""
    paragraphs = ["".join(t.text or "" for t in p.iter(f"{_DRAWING}t")) for p in element.iter(f"{_DRAWING}p")]
    return " ".join(" ".join(paragraphs).split())


def _chart(root: Any) -> Iterator[str]:
    chart = root.find(f"{_CHART}chart")
    if chart is None:
        return
    title = _title(chart)
    series = list(chart.iter(f"{_CHART}ser"))
    names = [" ".join(_values(ser.find(f"{_CHART}tx")).values()) for ser in series]
    if title:
        yield title
    axes = {str(axis.tag): _title(axis) for axis in chart.iter() if str(axis.tag).endswith("Ax")}
    categories = axes.get(f"{_CHART}catAx", "") or axes.get(f"{_CHART}dateAx", "")
    columns: list[dict[int, str]] = []
    heads: list[str] = []
    for ser, name in zip(series, names, strict=True):
        labels = _values(_first(ser, "cat", "xVal"))
        if labels and labels not in columns:
            columns.append(labels)
            heads.append(categories)
        columns.append(_values(_first(ser, "val", "yVal")))
        heads.append(name)
        if (sizes := _values(ser.find(f"{_CHART}bubbleSize"))) and len(set(sizes.values())) > 1:
            columns.append(sizes)
            heads.append(f"{name} (size)" if name else "size")
    points = sorted({point for column in columns for point in column})
    if points:
        yield markdown_table([heads, *([column.get(point, "") for column in columns] for point in points)])
    if others := [axis for axis in axes.values() if axis and axis not in heads]:
        yield "\n".join(others)


def _first(element: Any, *names: str) -> Any:
    return next((found for name in names if (found := element.find(f"{_CHART}{name}")) is not None), None)


def _title(element: Any) -> str:
    title = element.find(f"{_CHART}title")
    if title is None:
        return ""
    return _text(title.find(f"{_CHART}tx/{_CHART}rich")) or " ".join(_values(title.find(f"{_CHART}tx")).values())


def _values(element: Any) -> dict[int, str]:
    """The cached values of a reference to a sheet, by their index; names on several levels are joined."""
    values: dict[int, str] = {}
    if element is None:
        return values
    code = element.find(f".//{_CHART}formatCode")
    percent = code is not None and re.fullmatch(r"0(\.0+)?%", code.text or "") is not None
    levels = list(element.iter(f"{_CHART}lvl")) or [element]
    for level in reversed(levels):  # the innermost level is the first in the file
        above = ""
        own = {int(point.get("idx", "0")): _value(point, percent) for point in level.iter(f"{_CHART}pt")}
        if len(levels) == 1:
            # A name may stand there by itself, without a reference.
            return own or {number: v.text for number, v in enumerate(element.iter(f"{_CHART}v")) if v.text}
        for point in range(max([*own, *values], default=-1) + 1):
            above = own.get(point, above)
            if above:
                values[point] = f"{values[point]} {above}" if point in values else above
    return values


def _value(point: Any, percent: bool) -> str:
    text = (point.findtext(f"{_CHART}v") or "").strip()
    try:
        number = float(text)
    except ValueError:
        return text
    if percent:
        return f"{number * 100:.10g}%"
    # Office keeps 17 digits: 0.30000000000000004 is shown as 0.3.
    return f"{number:.15g}" if len(text) > 15 else text


def _new_chart(root: Any) -> Iterator[str]:
    """Waterfall, funnel, treemap and other charts of newer Office."""
    if title := _text(root.find(f".//{_NEW_CHART}title")):
        yield title
    columns = [
        {int(point.get("idx", "0")): (point.text or "").strip() for point in level.iter(f"{_NEW_CHART}pt")}
        for level in root.iter(f"{_NEW_CHART}lvl")
    ]
    names = [v.text or "" for v in root.iter(f"{_NEW_CHART}v")]
    points = sorted({point for column in columns for point in column})
    if points:
        heads = ["" for _ in columns]
        heads[-len(names) :] = names[: len(heads)] if names else heads[-len(names) :]
        yield markdown_table([heads, *([column.get(point, "") for column in columns] for point in points)])


def _diagram(root: Any) -> Iterator[str]:
    """The texts of SmartArt as a list, each below what it belongs to."""
    texts: dict[str, str] = {}
    for point in root.iter(f"{_DIAGRAM}pt"):
        if point.get("type", "node") not in _NO_TEXT:
            texts[point.get("modelId", "")] = _text(point.find(f"{_DIAGRAM}t"))
    below: dict[str, list[tuple[int, str]]] = {}
    children: set[str] = set()
    for link in root.iter(f"{_DIAGRAM}cxn"):
        source, target = link.get("srcId", ""), link.get("destId", "")
        if link.get("type", "parOf") == "parOf" and source in texts and target in texts:
            below.setdefault(source, []).append((int(link.get("srcOrd", "0")), target))
            children.add(target)
    lines: list[str] = []
    waiting = [(0, name) for name in reversed(texts) if name not in children]
    seen: set[str] = set()
    while waiting:
        depth, name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if texts[name]:
            lines.append(f"{'  ' * depth}- {texts[name]}")
        inner = depth + bool(texts[name])
        waiting += [(inner, child) for _, child in sorted(below.get(name, []), reverse=True)]
    if lines:
        yield "\n".join(lines)
