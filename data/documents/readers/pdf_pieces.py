"""Pieces of text on a page of a PDF, and the lines that they make."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Text on one baseline without a wide gap.

    Attributes:
        x0, x1: its ends along the line, in points.
        y: its baseline, in points downwards.
        size: of its font, in points.
        order: in which it is drawn.
    """

    text: str
    x0: float
    x1: float
    y: float
    size: float
    order: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page.

    Attributes:
        x0, x1, y, size: as of a piece; `y` from the top of the page.
        begins: whether a column or another region begins with it.
        degrees: its direction; 0 for upright text.
    """

    text: str
    x0: float
    x1: float
    y: float
    size: float
    begins: bool = False
    degrees: int = 0
