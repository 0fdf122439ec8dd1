"""What is filled in on a PDF page: values of form fields and texts typed onto it; comments are counted only."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.documents.readers.pdf_pieces import Piece

COMMENTS, HIDDEN_FIELDS = "comments", "hidden form fields"
_INVISIBLE = 2 | 32  # flags: hidden, not to be viewed
_PASSWORD = 1 << 13  # flag of a field whose value is shown as dots


@dataclass(frozen=True, slots=True)
class Field:
    """A form field's widget: its name, what stands in it, and its box (y upwards)."""

    name: str
    value: str
    left: float
    bottom: float
    right: float
    top: float
    is_mark: bool = False


def read_annotations(document: Any, page: Any) -> tuple[list[Field], Counter[str]]:
    """The filled form fields and typed-on texts of a page, and the characters left out, by what they are."""
    import pypdfium2.raw as native

    fields: list[Field] = []
    left_out: Counter[str] = Counter()
    form = document.formenv.raw if document.formenv is not None else None
    for index in range(native.FPDFPage_GetAnnotCount(page.raw)):
        note = native.FPDFPage_GetAnnot(page.raw, index)
        if not note:
            continue
        try:
            kind = native.FPDFAnnot_GetSubtype(note)
            hidden = native.FPDFAnnot_GetFlags(note) & _INVISIBLE
            if kind == native.FPDF_ANNOT_WIDGET and form is not None:
                filled = _widget(native, form, note)
                secret = native.FPDFAnnot_GetFormFieldFlags(form, note) & _PASSWORD
                if hidden or (secret and filled and not filled[0].is_mark):
                    left_out[HIDDEN_FIELDS] += sum(len(entry.value) for entry in filled)
                else:
                    fields += filled
            elif kind == native.FPDF_ANNOT_FREETEXT and not hidden:  # typed onto the page: a person reads it there
                text = _string(native.FPDFAnnot_GetStringValue, note, b"Contents")
                fields += [Field("", text, *_box(native, note))] if text.strip() else []
            elif kind not in (native.FPDF_ANNOT_LINK, native.FPDF_ANNOT_POPUP):
                left_out[COMMENTS] += len(_string(native.FPDFAnnot_GetStringValue, note, b"Contents").strip())
        finally:
            native.FPDFPage_CloseAnnot(note)
    return fields, left_out


def _widget(native: Any, form: Any, note: Any) -> list[Field]:
    kind = native.FPDFAnnot_GetFormFieldType(form, note)
    name = _string(native.FPDFAnnot_GetFormFieldName, form, note)
    if kind in (native.FPDF_FORMFIELD_CHECKBOX, native.FPDF_FORMFIELD_RADIOBUTTON):
        mark = "☒" if native.FPDFAnnot_IsChecked(form, note) else "☐"
        return [Field(name, mark, *_box(native, note), is_mark=True)]
    if kind not in (native.FPDF_FORMFIELD_TEXTFIELD, native.FPDF_FORMFIELD_COMBOBOX, native.FPDF_FORMFIELD_LISTBOX):
        return []
    value = _string(native.FPDFAnnot_GetFormFieldValue, form, note)
    return [Field(name, value, *_box(native, note))] if value.strip() else []


def _box(native: Any, note: Any) -> tuple[float, float, float, float]:
    box = native.FS_RECTF()
    native.FPDFAnnot_GetRect(note, ctypes.byref(box))
    return box.left, box.bottom, box.right, box.top


def _string(function: Any, *args: Any) -> str:
    """What a function of PDFium writes into a buffer as UTF-16."""
    import pypdfium2.raw as native

    size = function(*args, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*args, ctypes.cast(buffer, ctypes.POINTER(native.FPDF_WCHAR)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace").replace("\r\n", "\n").replace("\r", "\n")


def beside_labels(fields: Sequence[Field], printed: Sequence[Piece]) -> list[Piece]:
    """Form fields as pieces where they stand; one without a label to its left has its name before it."""
    pieces = []
    for entry in fields:
        height = max(entry.top - entry.bottom, 1.0)
        lines = [line for line in entry.value.splitlines() if line.strip()]
        size = min(height / max(len(lines), 1), 12.0)
        # The baseline of the label, where there is one on this line.
        level = [p for p in printed if -entry.top - 0.3 * size <= p.y - 0.3 * p.size <= -entry.bottom + 0.3 * size]
        labels = [piece for piece in level if (piece.x0 >= entry.left if entry.is_mark else piece.x0 < entry.left)]
        first = min((p.y for p in labels), default=-entry.top + 0.8 * size) if len(lines) == 1 else -entry.top + size
        name = "" if labels or not entry.name else f"{entry.name}: "
        for number, line in enumerate(lines):
            text = (name if not number else "") + " ".join(line.split())
            left = entry.left + 0.3 * size
            pieces.append(Piece(text, left, max(entry.right, left), first + number * size, size))
    return pieces
