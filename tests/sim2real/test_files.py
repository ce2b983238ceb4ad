from __future__ import annotations

from pathlib import Path

import pytest

from sim2real.contract import Frozen
from sim2real.errors import ShoalError
from sim2real.files import read_model, read_yaml, write_text


class Settings(Frozen):
    speed: float = 1.0


def test_text_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    for text in ("old", "new"):
        write_text(path, text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "file/inside.txt"])
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
        (b"", "the file: "),
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
