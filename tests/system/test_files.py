"""A reader finds the old content or the new, never half of it."""

import errno
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from resexp.system.files import TEMPORARY, folders, replacing, write_text


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


def test_what_a_killed_process_left_does_not_stop_the_next(path: Path) -> None:
    path.with_name(f"{TEMPORARY}{path.name}").write_text("much longer than what comes now")
    write_text(path, "ä\n")
    assert contents(path.parent) == {"file": "ä\n"}


def test_writers_of_one_file_do_not_share_a_temporary_and_no_link_catches_one(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name(f"{TEMPORARY}{path.name}").symlink_to(victim)
    with replacing(path) as one, replacing(path) as other:
        one.write(b"first, ")
        other.write(b"second")
        one.write(b"whole")
    assert contents(tmp_path) == {"file": "first, whole", "victim": "precious"}


def test_what_killed_writers_left_goes_and_what_others_write_stays(path: Path) -> None:
    path.with_name(f"{TEMPORARY}{path.name}-0123456789abcdef").write_text("half")
    with replacing(path) as file:
        file.write(b"late")
        write_text(path, "early")
        assert len(contents(path.parent)) == 2, "its writer lives"
    assert contents(path.parent) == {"file": "late"}


def test_without_locks_what_killed_writers_left_goes_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    left = path.with_name(f"{TEMPORARY}{path.name}-0123456789abcdef")
    left.write_text("half")
    write_text(path, "new")
    assert left.exists(), "its writer may live"
    os.utime(left, (0, 0))
    write_text(path, "newer")
    assert contents(path.parent) == {"file": "newer"}


def test_a_temporary_that_goes_before_it_is_locked_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, taken = fcntl.flock, list[Path]()

    def late(file: BinaryIO, how: int) -> None:
        if not taken:
            taken.append(Path(file.name))
            taken[0].unlink()
        lock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    write_text(path, "new")
    assert contents(path.parent) == {"file": "new"}
    assert taken


def test_a_folder_is_entered_once_and_what_cannot_be_entered_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to("a/b")
    (tmp_path / "lost").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "link").symlink_to("a/b/file")
    found = {place.relative_to(tmp_path).as_posix(): names for place, names in folders(tmp_path)}
    assert found == {".": {"link"}, "a": set(), "a/b": {"file"}, "lost": None, "round": None}
    assert folders(tmp_path / "none") == []
