"""Renders HTML templates, which are files beside the modules that name them."""

from __future__ import annotations

from importlib import resources
from typing import Any

from markupsafe import Markup


def render_page(package: str, template: str, **values: Any) -> str:
    """The page of a jinja2 template, as HTML. Every text is escaped; `page_css` is the style sheet that pages share.

    Args:
        package: dotted name of the package that holds the template.
        values: what the template names.
    """
    from jinja2 import Environment, StrictUndefined

    # Escapes whatever is not Markup; an undefined name is an error instead of an empty string.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page_css = style_sheet("data.report", "page.css")
    return environment.from_string(_read(package, template)).render(page_css=page_css, **values)


def style_sheet(package: str, name: str) -> Markup:
    """The text of a style sheet, which a page holds unescaped."""
    return Markup(_read(package, name))  # noqa: S704  a file of this package


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
