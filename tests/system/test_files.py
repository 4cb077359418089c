"""A reader finds the old content or the new, never half of it."""

from pathlib import Path

import pytest

from resexp.system.files import TEMPORARY, remove_temporaries, replacing, write_text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_new_content_takes_the_place_of_the_old_on_leaving(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert contents(path.parent) == {"file": "new"}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_old_content_stays_when_writing_fails(path: Path, error: BaseException) -> None:
    def write_half() -> None:
        with replacing(path, path.with_name("previous")) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert contents(path.parent) == {"file": "old"}


def test_old_content_moves_to_previous_if_there_is_any(tmp_path: Path) -> None:
    path, previous = tmp_path / "file", tmp_path / "previous"
    expected = [{"file": "first"}, {"file": "second", "previous": "first"}, {"file": "third", "previous": "second"}]
    for after in expected:
        with replacing(path, previous) as file:
            file.write(after["file"].encode())
        assert contents(tmp_path) == after


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write_text(tmp_path / "absent" / "file", "new")
    assert "absent" in str(error.value.filename)


def test_temporaries_of_a_killed_process_are_removed_and_nothing_else(path: Path) -> None:
    for name in (f"{TEMPORARY}file", f"{TEMPORARY}other"):
        path.with_name(name).write_text("half")
    remove_temporaries(path.parent)
    assert contents(path.parent) == {"file": "old"}


def test_what_a_killed_process_left_does_not_stop_the_next(path: Path) -> None:
    path.with_name(f"{TEMPORARY}{path.name}").write_text("much longer than what comes now")
    write_text(path, "ä\n")
    assert contents(path.parent) == {"file": "ä\n"}
