"""docs/tasks.md is what the script writes of the tasks that ship."""

from __future__ import annotations

from benchmarks import task_pages
from sim2real.tasks.shipped import task_names


def test_the_page_and_its_pictures_are_those_of_the_tasks() -> None:
    text = task_pages.PAGE.read_text()
    assert task_pages.page(text) == text, "run python -m benchmarks.task_pages"
    assert "a gripper on a tendon. A tracker tells where the cube is.\n" in text, "the whole of a file's first comment"
    assert sorted(path.stem for path in task_pages.PICTURES.glob("*.svg")) == sorted(task_names())
    for name in ("ant_u4_maze", "humanoid"):
        assert (task_pages.PICTURES / f"{name}.svg").read_text() == task_pages.picture(name)
