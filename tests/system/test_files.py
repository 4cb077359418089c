"""A reader finds the old content or the new, never half of it."""

from pathlib import Path

import pytest

from resexp.system.files import TEMPORARY, remove_temporaries, replacing, write_text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_new_content_takes_the_place_of_the_old_on_leaving(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_old_content_stays_when_writing_fails(path: Path, error: BaseException) -> None:
    def write_half() -> None:
        with replacing(path, path.with_name("previous")) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert names(path.parent) == ["file"]


def test_old_content_moves_to_previous(path: Path) -> None:
    previous = path.with_name("previous")
    for content in (b"new", b"newer"):
        with replacing(path, previous) as file:
            file.write(content)
    assert (path.read_text(), previous.read_text()) == ("newer", "new")
    assert names(path.parent) == ["file", "previous"]


def test_the_first_content_has_nothing_before_it(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", tmp_path / "previous") as file:
        file.write(b"first")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_not_there_is_said_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "absent" / "file", "new")
    assert "absent" in str(caught.value.filename)


def test_text_is_written_whole_and_in_utf_8(path: Path) -> None:
    write_text(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"


def test_temporaries_of_a_killed_process_are_removed_and_nothing_else(path: Path) -> None:
    for name in (f"{TEMPORARY}file", f"{TEMPORARY}other"):
        path.with_name(name).write_text("half")
    remove_temporaries(path.parent)
    assert names(path.parent) == ["file"]


def test_what_a_killed_process_left_does_not_stop_the_next(path: Path) -> None:
    path.with_name(f"{TEMPORARY}{path.name}").write_text("much longer than what comes now")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["file"]
