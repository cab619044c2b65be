"""The folder of uploads: one blob for the same bytes, and nothing left of what did not come to its end."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.files.store import Draft, FileStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "uploads")
    made.prepare()
    return made


def files_of(store: FileStore) -> list[str]:
    return sorted(str(path.relative_to(store._folder)) for path in store._folder.rglob("*") if path.is_file())


def received(store: FileStore, data: bytes) -> Draft:
    draft = store.begin()
    draft.write(data)
    return draft


def kept(store: FileStore, data: bytes) -> str:
    draft = received(store, data)
    published = store.publish(draft)
    draft.close()
    store.settle(published)
    return published.sha256


def test_the_same_bytes_are_one_blob(store: FileStore) -> None:
    first, second = kept(store, b"same"), kept(store, b"same")
    assert first == second
    assert files_of(store) == [f"blobs/{first[:2]}/{first}"]
    with store.open("0" * 32, first) as file:
        assert file.read() == b"same"


def test_a_file_of_the_earlier_release_is_found_under_its_stored_name(store: FileStore) -> None:
    (store._folder / ("a" * 32 + ".txt")).write_bytes(b"old")
    with store.open("a" * 32 + ".txt", "00") as file:
        assert file.read() == b"old"
    for name in ("../" + "a" * 32, "a" * 31, "b" * 32, "a" * 32 + ".txt/../x"):
        with pytest.raises(FileNotFoundError):
            store.open(name, "../../etc/passwd")


def test_a_draft_that_is_closed_is_gone(store: FileStore) -> None:
    received(store, b"half").close()
    assert files_of(store) == []


def test_a_sweep_leaves_what_somebody_is_still_writing(store: FileStore) -> None:
    """Guard: the lock of a draft; without it another node's start would take an upload away."""
    draft = received(store, b"going on")
    assert FileStore(store._folder).prepare() == 0
    assert draft.path.exists()
    draft.close()


CRASH = """
import os, sys
from pathlib import Path
from app.files.store import FileStore
store = FileStore(Path(sys.argv[1]))
store.prepare()
half = store.begin()
half.write(b"x" * 1_000_000)
whole = store.begin()
whole.write(b"published")
print(store.publish(whole).sha256, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_process_that_dies_leaves_nothing_behind_the_next_start(store: FileStore) -> None:
    """Killed with one file half received, and one published whose event nobody has written."""
    died = subprocess.run(
        [sys.executable, "-c", CRASH, str(store._folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    sha256 = died.stdout.strip()
    assert died.returncode == -9
    assert len(files_of(store)) == 3
    assert FileStore(store._folder).prepare() == 1
    assert store.unsettled() == [sha256]
    with store.claimed(sha256) as free:
        assert free
        store.settle_claimed(sha256, keep=False)
    assert files_of(store) == []


def test_what_the_log_knows_stays(store: FileStore) -> None:
    draft = received(store, b"known")
    published = store.publish(draft)
    store.leave(published)
    with store.claimed(published.sha256) as free:
        assert free
        store.settle_claimed(published.sha256, keep=True)
    assert files_of(store) == [f"blobs/{published.sha256[:2]}/{published.sha256}"]


def test_a_blob_that_somebody_has_just_published_is_not_for_a_sweep(store: FileStore) -> None:
    """Guard: the lock of what is pending; the same content may have been left by another process before."""
    left = store.publish(received(store, b"both"))
    store.leave(left)
    going_on = store.publish(received(store, b"both"))
    with store.claimed(left.sha256) as free:
        assert not free
    store.settle(going_on)
    assert store.unsettled() == []


def test_the_last_of_two_who_publish_the_same_settles_it(store: FileStore) -> None:
    first, second = (store.publish(received(store, b"twice")) for _ in range(2))
    store.settle(first)
    assert store.unsettled() == [first.sha256]
    store.settle(second)
    assert store.unsettled() == []


def test_a_full_disk_leaves_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = received(store, b"x" * 1_000)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.publish(draft)
    draft.close()
    assert files_of(store) == []
