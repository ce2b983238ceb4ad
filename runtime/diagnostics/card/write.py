"""Cards as files: Markdown with a picture beside it, or one page of HTML. Whatever a file says is shown as text."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from urllib.parse import quote

from runtime.diagnostics.card.content import Card, Section
from runtime.diagnostics.card.stress_summary import StressSummary
from runtime.inference.policy import Policy
from sim2real.errors import ShoalError, printable
from sim2real.files import write_text
from sim2real.pages import page

_LONGEST = 600
"""Characters of one sentence or cell."""
_STYLE = "<style>th, td { text-align: left; overflow-wrap: anywhere; }</style>"
_MARKS = re.compile(r"([\\`*\[\]<>|#!~&{}])|(?<!\w)_|_(?!\w)")


def write_card(policy: Policy, path: Path, *, stress: Path | None = None) -> None:
    """A card of `policy`, by the suffix of `path` as Markdown (.md) or HTML (.html)."""
    if path.suffix not in (".md", ".html"):
        raise ShoalError(f"--card: {path} should end in .md or .html.")
    card = Card.of(policy, None if stress is None else StressSummary.read(stress, policy))
    if path.suffix == ".html":
        write_text(path, as_html(card))
        return
    picture = path.with_suffix(".svg")
    if card.picture is not None:
        write_text(picture, card.picture)
    write_text(path, as_markdown(card, picture.name))


def as_markdown(card: Card, picture: str) -> str:
    """GitHub's Markdown; `picture` is the name of the drawing's file."""
    blocks = [f"# {_marked(card.title)}", _marked(card.lead)]
    if card.picture is not None:
        blocks.append(f"![The robot at home; dashed, where goals may be]({quote(picture)})")
    for section in card.sections:
        blocks += [f"## {section.title}", *(_marked(sentence) for sentence in section.sentences)]
        if section.points:
            blocks.append("\n".join(f"- {_marked(point)}" for point in section.points))
        if section.table:
            heading, *rows = section.table
            lines = [heading, ("---",) * len(heading), *(tuple(map(_marked, row)) for row in rows)]
            blocks.append("\n".join("| " + " | ".join(row) + " |" for row in lines))
        if section.code:
            blocks.append(f"    {_plain(section.code)}")
    return "\n\n".join(blocks) + "\n"


def as_html(card: Card) -> str:
    """One page that needs nothing else."""
    body = [f"{_STYLE}<h1>{_escaped(card.title)}</h1><p>{_escaped(card.lead)}</p>"]
    if card.picture is not None:
        body.append(f"<div style='max-width:26rem'>{card.picture}</div>")
    for section in card.sections:
        body += [f"<h2>{section.title}</h2>", *(f"<p>{_escaped(sentence)}</p>" for sentence in section.sentences)]
        if section.points:
            body.append("<ul>" + "".join(f"<li>{_escaped(point)}</li>" for point in section.points) + "</ul>")
        body.append(_table(section))
        if section.code:
            body.append(f"<pre>{_escaped(section.code)}</pre>")
    return page(_plain(card.title), body)


def _table(section: Section) -> str:
    if not section.table:
        return ""
    heading, *rows = section.table
    head = "".join(f"<th>{_escaped(cell)}</th>" for cell in heading)
    lines = ["<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _plain(text: str) -> str:
    return printable(text, most=_LONGEST)


def _escaped(text: str) -> str:
    return escape(_plain(text))


def _marked(text: str) -> str:
    return _MARKS.sub(lambda found: "\\" + found.group(), _plain(text))
