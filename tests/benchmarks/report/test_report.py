import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import mujoco
import numpy as np
import pytest

from benchmarks.report.charts import Axis
from benchmarks.report.page import Content, render, write_report
from benchmarks.report.raytrace import Camera, Capsules, hit_distance
from benchmarks.report.raytrace import render as raytrace
from benchmarks.report.recording import Geometry
from sim2real.tasks.task import load_task
from tests.benchmarks.report.synthetic import content

_VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Open elements, attributes and the text of scripts; fails on a tag that closes another one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def example() -> Content:
    return content()


@pytest.fixture(scope="module")
def page(example: Content) -> Page:
    return Page(render(example))


def test_every_element_is_closed_and_every_id_is_unique(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_the_page_loads_nothing(example: Content, page: Page) -> None:
    loading = [
        a for a in page.attributes if a[1] in ("src", "href", "srcset", "action", "data", "poster", "xlink:href")
    ]
    assert loading == []
    text = render(example)
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|import\(|https?://", text)
    policy = next(
        value for tag, name, value in page.attributes if (tag, name) == ("meta", "content") and "src" in str(value)
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_script_finds_every_element_that_it_names(page: Page) -> None:
    named = re.findall(r'by\("([a-z-]+)"\)|getElementById\("([a-z-]+)"\)', page.scripts["code"])
    wanted = {first or second for first, second in named}
    assert len(wanted) > 8
    assert wanted <= set(page.ids)


def test_numbers_of_the_summary_are_shown(example: Content, page: Page) -> None:
    summary = example.summary
    for key in ("teacher", "student", "export"):
        assert f"{100 * summary[key]['success_coarse']:.1f} %" in page.text
        assert f"{100 * summary[key]['success_fine']:.1f} %" in page.text
        acting = summary[key].get("actor_parameters", summary[key]["parameters"])
        assert f"{acting:,}" in page.text
    for shown in (
        "23 / 25",
        "2.8 \N{MULTIPLICATION SIGN}",
        "61 / 148 / 402 µs",
        "1.38 s",
        "0.042",
        "0.973",
        "431.2 s",
        "591.6 s",
        "4.8e-07",
    ):
        assert shown in page.text
    assert summary["contract_sha256"] in page.text
    assert summary["export"]["sha256"] in page.text


def test_text_from_outside_is_escaped() -> None:
    hostile = "</script><script>alert(1)</script><b>&"
    example = content(goals=1, episodes=16, task=hostile)
    example.summary["machine"]["processor"] = hostile
    example.summary["file"] = hostile
    example.summary["wall_s"][hostile] = 1.0
    text = render(example)
    assert "alert(1)</script>" not in text
    assert "<b>&" not in text
    page = Page(text)
    assert page.open == []
    assert page.text.count("alert(1)") == 5  # title, heading, stage, file, machine


def test_marks_of_the_template_in_a_text_stay_as_they_are() -> None:
    example = content(goals=1, episodes=16)
    example.summary["machine"]["processor"] = "Xeon @ 2.80GHz @script@"
    assert "Xeon @ 2.80GHz @script@" in Page(render(example)).text


def test_quick_runs_say_so(example: Content, page: Page) -> None:
    assert "A quick run at tiny size" not in page.text
    quick = replace(example, summary=example.summary | {"quick": True})
    assert "A quick run at tiny size" in render(quick)


def test_a_run_that_reached_nothing_still_gives_a_report(example: Content) -> None:
    recording = replace(
        example.recording, visits=tuple(replace(visit, reached_frame=None) for visit in example.recording.visits)
    )
    runtime = example.summary["runtime"] | {"goals_reached": 0, "median_time_s": None}
    first_row = example.teacher_metrics[:1]
    text = render(
        Content(example.summary | {"runtime": runtime}, first_row, [], example.errors, example.goal_position, recording)
    )
    assert "reaching 0 of 4 goals" in Page(text).text
    assert "nan" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).lower()


def test_the_embedded_recording_is_the_recording(example: Content, page: Page) -> None:
    recording = example.recording
    data = json.loads(page.scripts["recording"])
    segments = np.frombuffer(base64.b64decode(data["segments"]), "<i2").reshape(recording.segments.shape) / 1e4
    np.testing.assert_allclose(segments, recording.segments, atol=0.51e-4)
    tool = np.frombuffer(base64.b64decode(data["tool"]), "<i2").reshape(-1, 7)
    np.testing.assert_allclose(tool[:, :3] / 1e4, recording.tool_position, atol=0.51e-4)
    np.testing.assert_allclose(tool[:, 3:] / 32767, recording.tool_orientation, atol=2e-5)
    assert [visit["reached"] for visit in data["visits"]] == [30, 66, 102, None]


def test_writing_replaces_the_file_in_one_step(example: Content, tmp_path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, example)
    assert path.read_text() == render(example)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_geometry_draws_the_arm_and_neither_floor_nor_goal() -> None:
    model = load_task("franka_pose").model
    geometry = Geometry(model)
    names = [model.geom(int(index)).name for index in geometry.ids]
    assert "floor" not in names
    assert not [name for name in names if name.startswith("goal")]
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    # From the MJCF: link0_column is fixed to the world, from z = 0.08 to 0.14.
    column = geometry.ends(data)[names.index("link0_column")]
    np.testing.assert_allclose(column[np.argsort(column[:, 2])], [[0, 0, 0.08], [0, 0, 0.14]], atol=1e-9)


def test_ray_hits_lie_on_the_capsule_and_misses_pass_it_by() -> None:
    rng = np.random.default_rng(0)
    a, b, radius = np.array([0.1, -0.2, 0.3]), np.array([0.4, 0.5, -0.1]), 0.25
    origin = 3 * rng.normal(size=(4000, 3))
    direction = rng.normal(size=(4000, 3)) * 0.35 - origin
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)

    def distance(points: np.ndarray) -> np.ndarray:
        share = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        return np.linalg.norm(points - (a + share[..., None] * (b - a)), axis=-1)

    outside = distance(origin) > radius
    origin, direction = origin[outside], direction[outside]
    t = hit_distance(origin, direction, a, b, radius)
    hit = t < 1e8
    assert 500 < hit.sum() < len(t) - 500
    np.testing.assert_allclose(distance(origin[hit] + t[hit, None] * direction[hit]), radius, atol=1e-9)
    steps = np.linspace(0, 12, 600)
    before = steps[None, :, None] * np.minimum(t[hit], 12)[:, None, None] / 12
    assert (distance(origin[hit, None] + before * direction[hit, None]) > radius - 1e-9).all()
    assert (distance(origin[~hit, None] + steps[None, :, None] * direction[~hit, None]) > radius).all()


def test_a_traced_picture_shows_the_capsule_and_its_shadow() -> None:
    ball = Capsules(*(np.array(x, float) for x in ([[0, 0, 0.5]], [[0, 0, 0.5]], [0.2], [[0.8, 0.02, 0.02]], [0], [0])))
    camera = Camera((3.0, 0.0, 1.2), (0.0, 0.0, 0.4), focal=1.4)
    picture = raytrace(ball, camera, width=60, height=60, samples=1).astype(int)
    empty = raytrace(replace(ball, start=ball.start + 500, end=ball.end + 500), camera, width=60, height=60, samples=1)
    red = (picture[..., 0] > 2 * picture[..., 1]) & (picture[..., 0] > 60)
    assert red[24:32, 26:34].mean() > 0.9  # the rest is the highlight
    assert 0.02 < red.mean() < 0.2
    shadow = (picture.sum(-1) < 0.85 * empty.astype(int).sum(-1)) & ~red
    assert 5 < shadow.sum() < 900


@pytest.mark.parametrize(("low", "high"), [(0, 1.04), (0, 12_000), (-0.53, 0.53), (0, 1e-3), (0, 1)])
def test_axis_ticks_are_few_even_and_inside(low: float, high: float) -> None:
    ticks = Axis(low, high).ticks()
    assert 3 <= len(ticks) <= 9
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0])
