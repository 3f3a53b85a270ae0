"""What stands in a file is the old content or the new: whatever fails, and whenever the process is killed."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.errors import Busy, FovealError, NoSpace, NotWritable
from foveal.files import durable
from foveal.files.durable import RunLock, check_new_file, new_folder, sweep, write_bytes, write_text, writing
from foveal.files.places import cache_folder, data_folders


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for data in (b"", b"abc", bytes(3 << 20), memoryview(b"xyz")):
        write_bytes(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == bytes(data)
    write_text(tmp_path / "t.txt", "größer\r\n")
    assert (tmp_path / "t.txt").read_bytes() == "größer\r\n".encode()
    assert sorted(os.listdir(tmp_path)) == ["a", "t.txt"]


def test_the_umask_is_respected(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_name_at_the_limit_of_the_file_system_is_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("n" * 251), b"x")
    with pytest.raises(NotWritable, match="file name too long"):
        write_bytes(tmp_path / ("n" * 300), b"x")
    assert len(os.listdir(tmp_path)) == 1


STEPS = ("open", "write", "fsync", "close", "replace")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EIO, NoSpace),
        (errno.EFBIG, NoSpace),
        (errno.EACCES, NotWritable),
        (errno.EROFS, NotWritable),
    ],
)
def test_whichever_step_fails_the_old_content_stays_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, kind: type[FovealError]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    plain = getattr(os, step)

    def failing(*args: object, **options: object) -> object:
        if step == "close":
            plain(*args)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, step, failing)
        with pytest.raises(kind) as raised:
            write_bytes(path, b"new")
    assert str(path) in str(raised.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.write
    monkeypatch.setattr(durable.os, "write", lambda fd, data: plain(fd, data[:7]))
    write_bytes(tmp_path / "a", bytes(range(256)))
    assert (tmp_path / "a").read_bytes() == bytes(range(256))


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_full_disk_is_one_sentence_and_the_old_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    code = """
import resource, sys
from pathlib import Path
from foveal.errors import FovealError
from foveal.files.durable import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_bytes(Path(sys.argv[1]), bytes(1_000_000))
except FovealError as error:
    print(error.exit_code, error)
"""
    out, err = child(code, path).communicate(timeout=60)
    assert out.startswith(f"3 no space left while writing {path}; ")
    assert err == ""
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_written_bit_by_bit_stands_there_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    before = os.umask(0o027)
    try:
        with writing(path) as file:
            for number in range(100_000):
                file.write(f"größer {number}\r\n")
            assert path.read_text() == "old"
            (temporary,) = (name for name in os.listdir(tmp_path) if name != "rows.csv")
            assert (tmp_path / temporary).stat().st_size > 1_000_000, "rows are on the disk as they come"
    finally:
        os.umask(before)
    assert path.read_bytes() == "".join(f"größer {n}\r\n" for n in range(100_000)).encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["rows.csv"]
    assert file.closed


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, OSError, GeneratorExit])
def test_what_goes_wrong_inside_is_told_as_it_is_and_leaves_nothing(tmp_path: Path, kind: type[BaseException]) -> None:
    def failing() -> None:
        with writing(tmp_path / "new") as file:
            file.write("x" * 200_000)
            raise kind("mine")

    with pytest.raises(kind, match="mine"):
        failing()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, NoSpace), (errno.EACCES, NotWritable)])
def test_whichever_step_of_many_writes_fails_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, kind: type[FovealError]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    plain = getattr(os, step)

    def failing(*args: object, **options: object) -> object:
        if step == "close":
            plain(*args)
        raise OSError(code, os.strerror(code))

    def many_writes() -> None:
        with writing(path) as file:
            for _ in range(10):
                file.write("new" * 10_000)

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, step, failing)
        with pytest.raises(kind) as raised:
            many_writes()
    assert str(path) in str(raised.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_disk_that_fills_up_while_rows_come_is_one_sentence(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from foveal.errors import FovealError
from foveal.files.durable import writing
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with writing(Path(sys.argv[1])) as file:
        for number in range(100_000):
            file.write(f"row {number}\\n")
except FovealError as error:
    print(error.exit_code, number < 99_999, error)
"""
    out, err = child(code, tmp_path / "a").communicate(timeout=60)
    assert out.startswith(f"3 True no space left while writing {tmp_path / 'a'}; ")
    assert err == ""
    assert os.listdir(tmp_path) == []


def test_a_new_file_is_one_that_is_not_there_in_a_folder_that_is(tmp_path: Path) -> None:
    check_new_file(tmp_path / "a")
    (tmp_path / "link").symlink_to("nowhere")
    for name, words in (("link", "does not overwrite files"), ("none/a", "there is no folder")):
        with pytest.raises(NotWritable, match=words):
            check_new_file(tmp_path / name)
    assert os.listdir(tmp_path) == ["link"]


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from foveal.files.durable import write_bytes
print("ready", flush=True)
for i in range(10**6):
    write_bytes(Path(sys.argv[1]), bytes([i % 256]) * 400_000)
"""
    path, rng = tmp_path / "a", random.Random(5)
    for _ in range(8):
        writer = child(code, path)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.01, 0.08))
        writer.kill()
        writer.communicate(timeout=60)
        if path.exists():
            data = path.read_bytes()
            assert len(data) == 400_000
            assert len(set(data)) == 1
    sweep(tmp_path)
    assert set(os.listdir(tmp_path)) <= {"a"}


def test_two_writers_never_mix(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from foveal.files.durable import write_bytes
for _ in range(60):
    write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 200_000)
"""
    writers = [child(code, tmp_path / "a", letter) for letter in "xy"]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "a").exists():
            data = (tmp_path / "a").read_bytes()
            assert len(data) == 200_000
            assert len(set(data)) == 1
        time.sleep(0.002)
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert os.listdir(tmp_path) == ["a"]


# --------------------------------------------------------------------------------------------------- folders


def test_a_new_folder_is_made_and_an_empty_one_taken(tmp_path: Path) -> None:
    new_folder(tmp_path / "a" / "b")
    new_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_holds_something_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name, words in (
        ("a", "exists and is not empty; choose another"),
        ("file", "is not a folder"),
        ("link", "is not a"),
    ):
        with pytest.raises(NotWritable, match=words):
            new_folder(tmp_path / name)
    assert (tmp_path / "a" / "mine.txt").read_text() == "mine"


def as_nobody(code: str, *arguments: object) -> str:
    """What the code prints when it runs without root's rights."""
    drop = "import os\nif os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    imports = "import sys, foveal.files.durable as d, foveal.files.places as p\nfrom pathlib import Path\n"
    out, err = child(imports + drop + code, *arguments).communicate(timeout=60)
    assert err == ""
    return out


def test_a_read_only_place_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        folder.chmod(0o555)
    code = "try: d.new_folder(Path(sys.argv[1]))\nexcept d.NotWritable as e: print(e)"
    try:
        for name in ("a", "a/b"):
            out = as_nobody(code, tmp_path / name)
            if out:
                assert out.startswith("cannot write to ")
                assert "permission denied" in out
            else:
                pytest.skip("the temporary folder is not reachable without root's rights")
    finally:
        for folder in (tmp_path, tmp_path / "a"):
            folder.chmod(0o755)


# --------------------------------------------------------------------------------------------------- locks

HOLD = """
import sys, time
from pathlib import Path
from foveal.errors import Busy
from foveal.files.durable import RunLock
try:
    with RunLock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(float(sys.argv[2]))
except Busy as error:
    print(error, flush=True)
"""


def test_a_second_run_in_the_same_folder_is_told_who_has_it(tmp_path: Path) -> None:
    holder = child(HOLD, tmp_path, 60)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=rf"run .* is busy \(process {holder.pid} on host .*\); wait for it, or stop it\."):
        RunLock(tmp_path).__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    with RunLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_lock_copied_from_elsewhere_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 on host elsewhere since 2020\n" * 3)
    with RunLock(tmp_path):
        pass
    with RunLock(tmp_path), pytest.raises(Busy):
        RunLock(tmp_path).__enter__()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from foveal.files.durable import RunLock
with RunLock(Path(sys.argv[1])):
    if os.fork() == 0:
        os.close(1); os.close(2); time.sleep(20); os._exit(0)
    print("held", flush=True)
    os.kill(os.getpid(), 9)
"""
    holder = child(code, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.communicate(timeout=60)
    with RunLock(tmp_path):
        pass


# --------------------------------------------------------------------------------------------------- places


def test_the_cache_is_private_and_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "x" / "y"))
    assert cache_folder() == (tmp_path / "x" / "y").resolve()
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("FOVEAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_folder() == (tmp_path / "xdg" / "foveal").resolve()
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert cache_folder() == (tmp_path / "home" / ".cache" / "foveal").resolve()


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(NotWritable, match=r"cannot be made .*; set FOVEAL_CACHE to a folder that you can write to"):
        cache_folder()


def test_a_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(NotWritable, match="belongs to another user"):
        cache_folder()


def test_data_folders_are_parted_as_paths_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_DATA", os.pathsep.join(["/a", "", "~/b"]))
    assert data_folders() == (Path("/a"), Path.home() / "b")
    monkeypatch.delenv("FOVEAL_DATA")
    assert data_folders() == ()


def test_without_fcntl_the_lock_still_excludes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Windows way, with a stand-in for its module that locks as it does: by byte range, per open file."""
    taken: dict[tuple[int, int], int] = {}

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor: int, mode: int, count: int) -> None:
            where = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
            if taken.setdefault(where, descriptor) != descriptor:
                raise OSError(errno.EACCES, "locked")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
    lock: Callable[[], RunLock] = lambda: RunLock(tmp_path)  # noqa: E731
    with lock(), pytest.raises(Busy, match=f"process {os.getpid()}"):
        lock().__enter__()
