from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from sim2real.errors import ShoalError
from teacher.run.checkpoint import Checkpoints
from tests.limits import limited_files


def world(value: float) -> dict[str, np.ndarray]:
    return {"position": np.full((2, 3), value, np.float64), "step": np.array([int(value)])}


def test_newest_checkpoint_comes_back_exactly_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in (1, 2, 3):
        checkpoints.save(number, learner={"w": np.array([number / 3], np.float32)}, world=world(number / 3))
    learner, restored = Checkpoints(tmp_path, keep=2).restore(learner={"w": np.zeros(1, np.float32)}, world=world(0))
    assert checkpoints.latest == 3
    assert not (tmp_path / "1").exists()
    np.testing.assert_array_equal(learner["w"], np.array([1.0], np.float32))
    np.testing.assert_array_equal(restored["position"], world(1.0)["position"])


def test_learner_is_read_without_the_world(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=1).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    learner, restored = Checkpoints(tmp_path, keep=1).restore(learner={"w": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(learner["w"], 1.0)
    assert restored is None


@pytest.mark.parametrize("template", [{"w": np.zeros(3, np.float32)}, {"other": np.zeros(2, np.float32)}])
def test_checkpoint_of_another_shape_is_refused(template: dict[str, np.ndarray], tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=1).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    with pytest.raises(ShoalError, match="checkpoint 5 does not fit this configuration"):
        Checkpoints(tmp_path, keep=1).restore(learner=template)


def test_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=3).save(5, learner={"w": np.ones(2, np.float32)}, world=world(1.0))
    (tmp_path / ".6.123.part").mkdir()
    assert Checkpoints(tmp_path, keep=3).latest == 5


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="no complete checkpoint"):
        Checkpoints(tmp_path, keep=1).restore(learner={"w": np.zeros(2)})


def two(folder: Path) -> Checkpoints:
    """Checkpoints 1 and 2, of which the newer is damaged by the tests."""
    checkpoints = Checkpoints(folder, keep=2)
    for number in (1, 2):
        checkpoints.save(number, learner={"w": np.full(100, number, np.float32)}, world=world(number))
    return checkpoints


@pytest.mark.parametrize("harm", ["flip", "cut", "delete", "empty"])
@pytest.mark.parametrize("name", ["learner.npz", "world.npz", "sha256.json"])
def test_a_damaged_checkpoint_is_passed_over_with_a_sentence(
    name: str, harm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, path = two(tmp_path), tmp_path / "2" / name
    content, rng = bytearray(path.read_bytes()), random.Random(0)
    for place in rng.sample(range(len(content)), 20) if harm == "flip" else [0]:
        harmed = content.copy()
        harmed[place] ^= 1 << rng.randrange(8)
        if harm == "delete":
            path.unlink()
        else:
            path.write_bytes({"flip": harmed, "cut": content[: len(content) // 2], "empty": b""}[harm])
        learner, restored = checkpoints.restore(learner={"w": np.zeros(100, np.float32)}, world=world(0))
        said = capsys.readouterr().err
        # Of the digests, a bit may flip in the other part's or in a blank; then nothing is lost.
        if learner["w"][0] == 2:
            assert harm == "flip"
            assert name == "sha256.json"
            np.testing.assert_array_equal(restored["position"], world(2)["position"])
        else:
            np.testing.assert_array_equal(learner["w"], 1)
            assert "checkpoint 2 is damaged (" in said
            assert said.endswith("; going on from checkpoint 1.\n")
            assert said.count("\n") == 1


def test_a_resume_behind_a_damaged_checkpoint_writes_it_anew(tmp_path: Path) -> None:
    checkpoints = two(tmp_path)
    (tmp_path / "2" / "learner.npz").write_bytes(b"")
    checkpoints.save(2, learner={"w": np.full(100, 7, np.float32)}, world=world(7))
    assert checkpoints.rounds == [2, 1]
    np.testing.assert_array_equal(checkpoints.restore(learner={"w": np.zeros(100)})[0]["w"], 7)


def test_nothing_intact_is_an_error_that_says_so(tmp_path: Path) -> None:
    checkpoints = two(tmp_path)
    for number in "12":
        (tmp_path / number / "learner.npz").unlink()
    with pytest.raises(ShoalError, match=r"checkpoint 2 is damaged .*; checkpoint 1 is damaged .* none before it"):
        checkpoints.restore(learner={"w": np.zeros(100)})


def test_a_full_disk_leaves_the_checkpoints_that_were_there(tmp_path: Path) -> None:
    checkpoints = two(tmp_path)
    with limited_files(500), pytest.raises(ShoalError, match=r"cannot write .*3: File too large") as caught:
        checkpoints.save(3, learner={"w": np.zeros(1000)}, world=world(3))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_checkpoints_of_earlier_versions_are_read(tmp_path: Path) -> None:
    manager = ocp.CheckpointManager(tmp_path)
    parts = {"learner": {"w": np.ones(3, np.float32), "states": (np.zeros(2), ())}, "world": world(1)}
    items = {name: ocp.args.StandardSave(part) for name, part in parts.items()}
    manager.save(4, args=ocp.args.Composite(**items))
    manager.wait_until_finished()
    learner, restored = Checkpoints(tmp_path, keep=1).restore(learner=parts["learner"], world=parts["world"])
    np.testing.assert_array_equal(learner["w"], 1)
    assert isinstance(learner["states"], tuple)
    np.testing.assert_array_equal(restored["position"], world(1)["position"])
