"""Small DOCX files with XML of one's own in their bodies, and Office files in the strict form of ISO 29500."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import docx
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from testing.small_files import rezipped

NAMES = nsdecls("w", "m", "r", "wp", "a") + (
    ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:v="urn:schemas-microsoft-com:vml" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
)
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def saved(document: Any) -> bytes:
    """The bytes of a document or a deck of slides."""
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def body(*elements: str, parts: Mapping[str, str] | None = None, styles: str = "") -> bytes:
    """A DOCX whose body is these elements.

    Args:
        parts: further parts by their kinds ("footnotes", "chart"); "{chart}" in an element is the relation to one.
        styles: further styles.
    """
    document = docx.Document()
    relations = {}
    for kind, content in (parts or {}).items():
        package = document.part.package
        part = Part(PackURI(f"/word/{kind}.xml"), "application/xml", content.encode(), package)
        relations[kind] = document.part.relate_to(part, f"{_RELATIONS}/{kind}")
    for xml in elements:
        for kind, relation in relations.items():
            xml = xml.replace("{" + kind + "}", relation)
        document.element.body.insert(-1, parse_xml(named(xml)))
    for style in parse_xml(named(f"<w:styles>{styles}</w:styles>")):
        document.styles.element.append(style)
    return saved(document)


def named(xml: str) -> str:
    """An element with the namespaces that it uses."""
    return re.sub(r"^<[\w:]+", lambda match: f"{match[0]} {NAMES}", xml)


def run(text: str, properties: str = "") -> str:
    """A run of text."""
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*inside: str, properties: str = "") -> str:
    """A paragraph of runs; what begins with no "<" is text."""
    runs = "".join(part if part.startswith("<") else run(part) for part in inside)
    return f"<w:p><w:pPr>{properties}</w:pPr>{runs}</w:p>"


def strictly(raw: bytes) -> bytes:
    """The file in the strict form of ISO 29500."""
    changes = {}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                changes[name] = re.sub(
                    rb"http://schemas\.openxmlformats\.org/(\w+ml|officeDocument)/2006/",
                    rb"http://purl.oclc.org/ooxml/\1/",
                    archive.read(name),
                )
    return rezipped(raw, changes)


CHART = named(
    "<c:chartSpace><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Grain of</a:t></a:r><a:r><a:t> 1931</a:t></a:r></a:p>"
    "</c:rich></c:tx></c:title><c:plotArea><c:barChart><c:ser><c:tx><c:strRef><c:strCache>"
    '<c:pt idx="0"><c:v>Share</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat><c:strRef><c:strCache>'
    '<c:pt idx="0"><c:v>Rye</c:v></c:pt><c:pt idx="1"><c:v>Oats</c:v></c:pt></c:strCache></c:strRef></c:cat>'
    '<c:val><c:numRef><c:numCache><c:formatCode>0%</c:formatCode><c:pt idx="0"><c:v>0.26</c:v></c:pt>'
    '<c:pt idx="1"><c:v>0.74</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser></c:barChart></c:plotArea></c:chart>'
    "</c:chartSpace>"
)
CHART_TEXT = "Grain of 1931\n\n|  | Share |\n| --- | --- |\n| Rye | 26% |\n| Oats | 74% |"

_POINTS = "".join(
    f'<dgm:pt modelId="{n}"><dgm:t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></dgm:t></dgm:pt>'
    for n, text in ((1, "Grind"), (3, "by the hour"), (2, "Pay"))
)
DIAGRAM = named(
    f'<dgm:dataModel><dgm:ptLst><dgm:pt modelId="0" type="doc"/>{_POINTS}<dgm:pt modelId="9" type="pres"><dgm:t><a:p>'
    "<a:r><a:t>Not this</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst><dgm:cxnLst>"
    '<dgm:cxn srcId="0" destId="2" srcOrd="1"/><dgm:cxn srcId="0" destId="1" srcOrd="0"/>'
    '<dgm:cxn srcId="2" destId="3" srcOrd="0"/></dgm:cxnLst></dgm:dataModel>'
)
DIAGRAM_TEXT = "- Grind\n- Pay\n  - by the hour"
