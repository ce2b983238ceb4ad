"""The `sim2real` command, through its entry point."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from sim2real.child_process import python_program
from sim2real.cli import main
from sim2real.contract import Contract
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import TaskConfig
from tests.sim2real.contract.test_policy_file import properties_of
from tests.sim2real.planar_arm import MJCF, TASK, write_task


class Runner:
    """Runs the command and keeps what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Standard output, or standard error where a status other than 0 or 1 is expected."""
        self._monkeypatch.setattr("sys.argv", ["sim2real", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        assert code == status
        captured = self._capsys.readouterr()
        return captured.err if status > 1 else captured.out


@pytest.fixture
def sim2real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(monkeypatch, capsys)


def policy(folder: Path, contract: Contract) -> Path:
    """The smallest ONNX file with a policy's metadata."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, properties_of(contract))
    onnx.save(model, folder / "student.onnx")
    return folder / "student.onnx"


def test_tasks_lists_all(sim2real: Runner) -> None:
    out = sim2real("tasks")
    assert all(name in out for name in task_names())
    assert "25 Hz" in out


def test_show(sim2real: Runner, pose_contract: Contract) -> None:
    out = sim2real("show", "franka_pose")
    assert pose_contract.digest[:16] in out
    assert all(name in out for name in pose_contract.joint_names)
    assert sim2real("show", "franka_pose", "--json") == pose_contract.canonical_json + "\n"


def test_schema_accepts_what_the_loader_accepts(sim2real: Runner) -> None:
    schema = json.loads(sim2real("schema"))
    _, whole = schema["anyOf"]
    assert set(whole["required"]) <= set(TASK) <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema == TaskConfig.model_json_schema()


def test_diff_of_tasks_names_fields(sim2real: Runner) -> None:
    out = sim2real("diff", "franka_pose", "franka_reach", status=1)
    assert "What a goal is (goal.kind): tool_pose in franka_pose, tool_position in franka_reach. One policy is" in out
    assert "same contract" in sim2real("diff", "franka_pose", "franka_pose")


def test_diff_names_the_joint(sim2real: Runner, tmp_path: Path, pose_contract: Contract) -> None:
    text = pose_contract.model_dump_json().replace('"stiffness":2500.0', '"stiffness":2400.0', 1)
    (tmp_path / "old.json").write_text(text)
    out = sim2real("diff", str(tmp_path / "old.json"), "franka_pose", status=1)
    assert "Servo stiffness of fr3_joint4 (robot.joints[3].stiffness): 2400 N m/rad in" in out
    assert "2500 N m/rad in franka_pose, +4.2%. Where it is larger, the joint follows its target" in out


def test_diff_reads_a_policy(sim2real: Runner, tmp_path: Path, pose_contract: Contract) -> None:
    file = str(policy(tmp_path, pose_contract.with_lineage(student="wide")))
    out = sim2real("diff", file, "franka_pose")
    assert "Where the policy came from (lineage.student): wide in" in out
    assert "The interface is the same" in out
    sim2real("diff", file, "franka_reach", status=1)


def test_check_reports_and_passes(sim2real: Runner, tmp_path: Path) -> None:
    out = sim2real("check", "franka_pose", "--samples", "200")
    assert "touch themselves or the floor" in out
    assert "franka_pose: ready to train." in out
    mjcf = MJCF.replace('mass="0" rgba', 'mass="0" contype="0" conaffinity="0" rgba').replace(
        '"/>\n      </body>',
        '"/><body><joint name="wheel"/><geom size="0.01" contype="0" conaffinity="0"/></body></body>',
    )
    mjcf = mjcf.replace('qpos="0.2 0.5"', 'qpos="0.2 0.5 0"')
    out = sim2real("check", str(write_task(tmp_path, mjcf=mjcf)), "--samples", "50")
    assert "no geom can collide" in out
    assert "no reading shows them: wheel" in out


WALL = '<worldbody><geom name="wall" type="box" size="0.05 1 1" pos="-0.3 0 0"/>'
SHOWN = '<geom name="hand" size="0.02" pos="0.2 0 0"/><site name="tool"'


def test_check_says_which_starts_are_refused_and_draws_them(sim2real: Runner, tmp_path: Path) -> None:
    mjcf = MJCF.replace("<worldbody>", WALL).replace('<site name="tool"', SHOWN)
    path = write_task(tmp_path, mjcf=mjcf, resets=[{"kind": "around_home", "half_range": [1.9, 2.4]}])
    out = sim2real("check", str(path), "--samples", "50", "--pictures", str(tmp_path / "seen"))
    share = int(re.search(r"of 500 random starts, (\d+)% are kept", out)[1])  # type: ignore[index]
    refused = int(re.search(r"wall and hand .*?(\d+)%", out)[1])  # type: ignore[index]
    assert refused >= 1
    assert share + refused <= 100
    assert re.search(r"backend native: .* [\d,]+ physics steps/s with 16 environments", out)
    for name in ("workspace.png", "goals.png"):
        assert (tmp_path / "seen" / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "seen" / "task.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "__VISER_EMBED_DATA__=" in page


def test_check_draws_what_it_can_without_a_browsers_scene(
    sim2real: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim2real.commands.checks.pictures.viser_installed", lambda: False)
    monkeypatch.setattr("sim2real.commands.check.viser_installed", lambda: False)
    out = sim2real("check", str(write_task(tmp_path)), "--samples", "50", "--pictures", str(tmp_path / "seen"))
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {"workspace.png", "goals.png"}
    assert "pip install 'shoal[page]'" in out


def test_mjx_is_imported_without_what_it_prints() -> None:
    program = python_program("import sim2real.backends.mjx")
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout == ""


def test_check_says_what_mjx_cannot_do_and_how_long_preparing_took(sim2real: Runner, tmp_path: Path) -> None:
    out = sim2real("check", str(write_task(tmp_path)), "--samples", "50")
    assert re.search(r"backend mjx: simulates this model, prepared in \d+\.\d s", out)
    mjcf = MJCF.replace("<worldbody>", '<option noslip_iterations="3"/><worldbody>')
    path = str(write_task(tmp_path, mjcf=mjcf))
    out = sim2real("check", path, "--samples", "50")
    assert "backend mjx: MJX leaves out noslip_iterations 3 (<option>)" in out
    assert "task.yaml: ready to train." in out
    assert "not ready to train, 1 problem" in sim2real("check", path, "--samples", "50", "--mjx", status=1)


def test_check_refuses_servos_that_cannot_hold(sim2real: Runner, tmp_path: Path) -> None:
    mjcf = MJCF.replace('axis="0 0 1"', 'axis="0 1 0"').replace('kp="50" kv="4"', 'kp="0.7" kv="0.3"')
    estimators = dict.fromkeys(("end_effector_position", "end_effector_orientation"), "motion capture")
    path = write_task(tmp_path, mjcf=mjcf, estimators=estimators, goal__position_min_m=[-0.6, -0.6, -0.5])
    out = sim2real("check", str(path), "--samples", "50", status=1)
    assert re.search(r"shoulder\W+63 % after \d+ ms", out)
    assert "under gravity the tool is" in out
    assert "elbow: the servo cannot hold home: it sags" in out


def test_check_tries_no_servo_where_there_is_none(sim2real: Runner) -> None:
    out = sim2real("check", "humanoid", "--samples", "50")
    assert "told a small step" not in out
    assert "servos without damping" not in out
    assert "while the drives do nothing, the base sinks" in out


def test_check_refuses_delays_that_mjx_ignores(sim2real: Runner, tmp_path: Path) -> None:
    path = write_task(tmp_path, mjcf=MJCF.replace('kp="50"', 'kp="50" delay="0.01" nsample="8"'))
    assert "actuator 'elbow' has a delay of 0.01 s (delay, nsample)" in sim2real("check", str(path), status=2)


def test_check_refuses_a_goal_box_out_of_reach(sim2real: Runner, tmp_path: Path) -> None:
    path = write_task(tmp_path, goal__position_min_m=[2, 2, 2], goal__position_max_m=[3, 3, 3])
    out = sim2real("check", str(path), status=1)
    assert "not ready to train, 1 problem" in out
    assert "Widen the goal's bounds" in out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, "no file at"),
        ("gone.json", None, "no file at"),
        ("bad.json", "{}", "not a contract"),
        ("bad.onnx", "not a graph", "ONNX Runtime cannot load it"),
    ],
)
def test_unreadable_files(sim2real: Runner, tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    error = sim2real("diff", str(tmp_path / name), "franka_pose", status=2)
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_user_errors_are_one_sentence_and_status_2(sim2real: Runner) -> None:
    error = sim2real("show", "franka_pour", status=2)
    assert error.startswith("error: task: unknown task 'franka_pour'")
    assert error.count("\n") == 1


def test_a_new_task_neither_replaces_its_robot_nor_gets_a_name_that_is_none(sim2real: Runner, tmp_path: Path) -> None:
    robot = tmp_path / "robot.xml"
    text = MJCF.replace('joint name="elbow"', "joint").replace('joint="elbow"', 'tendon="bent"')
    tendon = '<tendon><fixed name="bent"><joint joint="shoulder" coef="1"/></fixed></tendon><actuator>'
    robot.write_text(text.replace("<actuator>", tendon))
    before = robot.read_text()
    said = sim2real("new-task", str(robot), "--output", str(tmp_path / "robot.yaml"), "--force", status=2)
    assert f"would lie beside it and replace {robot} itself; give another --output." in said
    assert robot.read_text() == before
    for name in ("My Task.yaml", "robot", "robot.xml"):
        said = sim2real("new-task", str(robot), "--output", str(tmp_path / name), "--force", status=2)
        assert "is no task file; it is called after its task" in said
    assert [path.name for path in tmp_path.iterdir()] == ["robot.xml"]


@pytest.mark.parametrize("options", [("--samples", "0"), ("--seed", "-1")])
def test_check_draws_something(sim2real: Runner, options: tuple[str, str]) -> None:
    assert "--samples must be at least 1 and --seed at least 0" in sim2real("check", "franka_pose", *options, status=2)
