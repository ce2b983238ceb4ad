from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim2real.contract import Frozen
from sim2real.errors import ShoalError
from sim2real.files import read_model, read_yaml, require_writable, write_file, write_text
from tests.limits import limited_files


class Settings(Frozen):
    speed: float = 1.0


def test_text_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    for text in ("old", "new"):
        write_text(path, text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "file/inside.txt", "n" * 300])
def test_what_cannot_be_written_is_named_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ShoalError, match=f"cannot write .*{name}: "):
        write_text(tmp_path / name, "text")
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"speed: [", "is not valid YAML: "),
        (b"speed: \xff", "is not valid YAML: "),
        (b"speed: fast", "speed: "),
        (b"sped: 1", "sped is not a known key"),
        (b"[1, 2]", "the file: "),
        (b"", "it is empty"),
        (b"speed: .inf", "finite"),
        (b"speed: 1\nspeed: 2", "'speed' in lines 1, 2"),
        (
            b"speed: fast\nsped: 1",
            "speed: input should be a valid number, unable to parse string as a number, got 'fast'; sped is",
        ),
        (None, "cannot read"),
    ],
)
def test_wrong_file_is_one_sentence(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ShoalError, match=r"^settings: .*settings\.yaml") as caught:
        read_model(Settings, path, what="settings")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_file_means_the_defaults_only_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("# nothing yet\n")
    assert read_yaml(path, what="settings") is None
    assert read_model(Settings, path, what="settings", may_be_empty=True) == Settings()


def test_text_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("precious")
    with limited_files(1000), pytest.raises(ShoalError, match=r"cannot write .*file\.txt: File too large"):
        write_text(path, "x" * 5000)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_device_is_written_to_and_stays_one() -> None:
    with pytest.raises(ShoalError, match="cannot write /dev/full: No space left on device"):
        write_text(Path("/dev/full"), "text")
    assert Path("/dev/full").is_char_device()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_writing_never_leaves_half_a_file_when_what_fills_it_fails(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        write_file(tmp_path / "file.txt", fill)
    assert not any(tmp_path.iterdir())


def test_where_nothing_could_be_written_is_told_beforehand_and_touched_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "file" / "below")
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file" / "out.json", "Not a directory"),
        (tmp_path / "link", "Not a directory"),
        (tmp_path / ("x" * 252), "File name too long"),
        (Path("/dev/null/out.json"), "Not a directory"),
    ):
        with pytest.raises(ShoalError, match=f"--json: cannot write {re.escape(str(path))}: {reason}; choose another"):
            require_writable(path, what="--json")
    for path in (tmp_path / "out.json", tmp_path / "file", tmp_path / "a" / "b" / "out.json", Path("/dev/null")):
        require_writable(path, what="--json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "kept"
