"""Model cards: what they say, that what a file holds stays text, and what is refused."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

from runtime.cli import main
from runtime.diagnostics.card.picture import robot_svg
from runtime.inference.policy import Policy
from sim2real.contract.policy_file import LICENSE_KEY
from sim2real.evaluation.record import EVALUATION_KEY, EvaluationRecord
from sim2real.evaluation.success import Score
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task

SCORE = Score(512, 510 / 512, 505 / 512, 0.85, 0.0035, 0.72, 0.0)
HOSTILE = "<script>alert(1)</script> | `x` [a](http://b) \x1b[31m\n# heading _em_"


def with_properties(source: Path, path: Path, **properties: str) -> Path:
    model = onnx.load(str(source))
    for key, value in properties.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key.replace("__", "."), value
    onnx.save(model, str(path))
    return path


@pytest.fixture
def evaluated(policy_path: Path, tmp_path: Path) -> Path:
    record = EvaluationRecord.of(SCORE, seed=1_000_003, engine="native")
    properties = {EVALUATION_KEY.replace(".", "__"): record.model_dump_json(), LICENSE_KEY: "Apache-2.0"}
    return with_properties(policy_path, tmp_path / "reach it.onnx", **properties)


def stress_of(path: Path, policy: Path, **changed: object) -> Path:
    report = {
        "contract": Policy(policy).contract.digest,
        "sentences": [
            "Go: all 1 requirements hold.",
            "a payload holds.",
            "payload: falls below at 5 kg.",
            "push: stays.",
        ],
        "level": 0.9,
        "requirements": [{}],
        "boundaries": [{"boundary": 5.0}, {"boundary": None}],
    }
    path.write_text(json.dumps(report | changed))
    return path


def card(*arguments: object) -> int:
    try:
        main(["inspect", *map(str, arguments)])
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


class Elements(HTMLParser):
    """Names of all elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_markdown_says_what_was_measured_and_where_it_ends(evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "the card.md"
    assert card(evaluated, "--card", out, "--stress", stress_of(tmp_path / "stress.json", evaluated)) == 0
    text = out.read_text()
    assert "| within 2 cm and 8°, held for 0.5 s | 505 of 512, 98.6 % (97.2 to 99.3 %) |" in text
    assert "seed 1000003" in text
    assert "- payload: falls below at 5 kg." in text
    assert "- 1 other disturbances never brought success below 90% within what was tried." in text
    assert "push: stays" not in text
    assert "| license | Apache-2.0 |" in text
    assert "](the%20card.svg)" in text
    drawing = ET.parse(out.with_suffix(".svg")).getroot()
    assert len(drawing.findall("{*}path")) > 20


def test_html_is_one_page_with_the_drawing_in_it(evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "card.html"
    assert card(evaluated, "--card", out) == 0
    page = Elements(out.read_text())
    assert {"svg", "table", "h1"} <= {*page.names}
    assert not {"script", "link", "img", "iframe"} & {*page.names}
    assert "510 of 512, 99.6 % (98.6 to 99.9 %)" in page.text
    assert "No stress report was given" in page.text
    assert not out.with_suffix(".svg").exists()


def test_what_a_file_holds_stays_text(policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = with_properties(policy_path, tmp_path / "p.onnx", license=HOSTILE)
    for suffix in ("html", "md"):
        assert card(file, "--card", tmp_path / f"card.{suffix}") == 0
    page = Elements((tmp_path / "card.html").read_text())
    assert "script" not in page.names
    assert "<script>alert(1)</script>" in page.text
    text = (tmp_path / "card.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| license"))
    assert r"\<script\>alert(1)\</script\> \| \`x\` \[a\](http://b)" in line
    assert r"\# heading \_em\_" in line  # still in its cell
    assert "\x1b" not in text + (tmp_path / "card.html").read_text()
    capsys.readouterr()
    assert card(file) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_inspect_shows_the_evaluation(evaluated: Path, policy_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert card(evaluated) == 0
    assert "505 of 512, 98.6 % (97.2 to 99.3 %)" in capsys.readouterr().out
    assert card(evaluated, "--json") == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["fine"]["reached"] == 505
    assert card(policy_path) == 0
    assert "the file carries no evaluation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"contract": "0" * 64}, "is about contract '000000000000', the policy has"),
        ({"sentences": ["Go."]}, "has 1 sentences, which don't fit its numbers"),
        ({"boundaries": "many"}, "is no JSON of sim2real stress: boundaries"),
    ],
)
def test_a_stress_report_of_something_else_is_refused(
    changed: dict[str, object], said: str, policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stress = stress_of(tmp_path / "stress.json", policy_path, **changed)
    assert card(policy_path, "--card", tmp_path / "card.md", "--stress", stress) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "card.md").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--card", "card.txt"), "should end in .md or .html"),
        (("--card", "card.md", "--stress", "nowhere.json"), "nowhere.json cannot be read"),
        (("--stress", "stress.json"), "--stress is for a model card"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], said: str, policy_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert card(policy_path, *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", task_names())
def test_every_shipped_robot_can_be_drawn(name: str) -> None:
    task = load_task(name)
    drawing = ET.fromstring(robot_svg(task.model, task.contract))
    width, height = (float(drawing.get(side) or 0) for side in ("width", "height"))
    for path in drawing.findall("{*}path"):
        points = np.array([pair.split() for pair in (path.get("d") or "").strip("MZ").split("L")], float)
        assert (points >= 0).all()
        assert (points <= [width, height]).all()
