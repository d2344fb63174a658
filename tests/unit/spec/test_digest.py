"""A large file is read once for as long as it stays as it is."""

import hashlib
import os

import pytest

from undo.spec import digest
from undo.spec.digest import file_digest


@pytest.fixture
def reads(tmp_path, monkeypatch):
    """How often a file was read; a cache of this test alone, for files of every size."""
    read = []
    computed = digest._computed
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "LARGE", 0)
    monkeypatch.setattr(digest, "_computed", lambda path: read.append(path) or computed(path))
    return read


def test_a_file_is_read_again_once_it_has_changed_or_where_that_is_asked_for(reads, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"first")
    assert file_digest(path) == file_digest(path) == hashlib.sha256(b"first").hexdigest() and len(reads) == 1
    stamp = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time of change as far as one can set it
    assert file_digest(path) == hashlib.sha256(b"other").hexdigest() and len(reads) == 2
    file_digest(path, again=True)
    assert len(reads) == 3


def test_a_cache_that_cannot_be_written_or_read_costs_time_alone(reads, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file in the way")
    path = tmp_path / "weights"
    path.write_bytes(b"first")
    assert file_digest(path) == file_digest(path) and len(reads) == 2


def test_small_files_are_read_every_time(reads, tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "LARGE", 100)
    (tmp_path / "small").write_bytes(b"x")
    file_digest(tmp_path / "small")
    assert file_digest(tmp_path / "small") and len(reads) == 2 and not (tmp_path / "cache").exists()
