"""The pictures and the table of `docs/tasks.md`, from the tasks that ship.

    python -m benchmarks.task_pages

What a task is comes from its contract; whether a policy is shipped for it, and how well that does, from the file.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import onnx

from runtime.diagnostics.card.picture import robot_svg
from sim2real.console import command_line
from sim2real.contract.interface import action_size, goal_size
from sim2real.evaluation.record import read_evaluation
from sim2real.files import write_text
from sim2real.tasks.shipped import task_file, task_names
from sim2real.tasks.task import load_task

_ROOT = Path(__file__).parents[1]
PAGE, PICTURES, MODELS = _ROOT / "docs" / "tasks.md", _ROOT / "docs" / "images" / "tasks", _ROOT / "models"
_BEGIN, _END = "<!-- tasks -->\n", "<!-- end of tasks -->"


def picture(name: str) -> str:
    """The robot at home and where its goals may be, SVG."""
    task = load_task(name)
    return robot_svg(task.model, task.contract)


def card(name: str) -> str:
    """What a task asks for, as Markdown."""
    task = load_task(name)
    contract, timing = task.contract, task.contract.timing
    lines = takewhile(lambda line: line.startswith("#"), task_file(name).read_text().splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    seen = contract.observation.size
    more = task.teacher_contract.observation.size - seen
    told = f"{seen} numbers, teachers {seen + more}" if more else f"{seen} numbers"
    steps = f"{timing.episode_steps} steps of {1e3 * timing.control_dt_s:g} ms"
    over = ", ".join(term.kind for term in contract.terminations) or "nothing"
    return "\n".join(
        (
            f"## {name}",
            "",
            comment,
            "",
            f"![{name}](images/tasks/{name}.svg)",
            "",
            "| | |",
            "| --- | --- |",
            f"| observation | {told} |",
            f"| action | {action_size(contract)}, `{contract.action.kind}` |",
            f"| goal | {goal_size(contract)}, `{contract.goal.kind}`; within {contract.goal.coarse_position_m:g} m |",
            f"| time | {steps}, each {timing.substeps} of physics |",
            f"| ends early | {over} |",
            f"| policy | {_policy(name)} |",
            "",
        )
    )


def _policy(name: str) -> str:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        return "*experimental*: nothing learnt is shipped"
    properties = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    found = read_evaluation(properties, path=str(path))
    return f"`models/{path.name}`" + (f": {found.coarse.text} of held-out goals" if found else "")


def page(text: str) -> str:
    """The page with its list of tasks as it should be."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}" + "\n".join(card(name) for name in task_names()) + f"{end}{after}"


def main() -> None:
    """Write the pictures and the list."""
    for name in task_names():
        write_text(PICTURES / f"{name}.svg", picture(name))
    write_text(PAGE, page(PAGE.read_text()))
    print(PAGE)


if __name__ == "__main__":
    with command_line():
        main()
