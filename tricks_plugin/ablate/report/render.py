"""The folder of the templates, read by Jinja2."""

from __future__ import annotations

from typing import Any

__all__ = ['render']


def render(name: str, **content: Any) -> str:
    """Fills a template of this package; values are escaped in ``.html``.

    Args:
        name: The template's file name.
        content: Its variables; one that is missing is an error.
    """
    import jinja2
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, 'templates'), undefined=jinja2.StrictUndefined,
        autoescape=lambda path: bool(path) and '.html' in str(path),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.get_template(name).render(**content)
