"""What the pages of reports share: one look, plots as SVG inside one file."""

from __future__ import annotations

import io
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sim2real.errors import ShoalError
from sim2real.files import write_file

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: right; border-bottom: 1px solid #e3e8ee; }
th:first-child, td:first-child { text-align: left; } svg { width: 100%; height: auto; }
.small { color: #5b6b7b; font-size: 0.85rem; } li { margin: 0.3rem 0; }
.pairs { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.good { color: #2b8a3e; } .bad { color: #a61e4d; }
"""


def page(title: str, sections: list[str]) -> str:
    """One HTML file of sections that are HTML already."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(sections)}</body>"


def viser_installed() -> bool:
    """Whether the packages that draw scenes in a browser are there; loads none of them."""
    return find_spec("viser") is not None and find_spec("mjviser") is not None


def pyplot() -> Any:
    """`matplotlib.pyplot` without a display; one sentence where it is missing."""
    try:
        import_module("matplotlib").use("Agg")
        return import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ShoalError(f"reports need matplotlib: pip install 'shoal[analysis]' ({error}).") from error


def save_figure(figure: Any, path: Path, *, dpi: int = 130) -> None:
    """A figure as a file that is complete or not there; the figure is closed."""
    write_file(path, lambda beside: figure.savefig(beside, dpi=dpi, format=path.suffix[1:] or "png"))
    pyplot().close(figure)


def svg(figure: Any) -> str:
    """A figure as an SVG element; the figure is closed."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    pyplot().close(figure)
    # The XML prologue has no place inside a page.
    return text.getvalue()[text.getvalue().index("<svg") :]
