"""A download is the file that was published, whole, or nothing: from a server of our own."""

import hashlib
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foveal.errors import BadData, Missing
from foveal.files.download import download

CONTENT = bytes(range(256)) * 3000
SHA = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def serving(handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Odd(BaseHTTPRequestHandler):
    """Promises a length and sends another, or promises none."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        if self.path == "/cut":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:-1] if self.path == "/cut" else CONTENT)


@pytest.fixture
def address(tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.pth").write_bytes(CONTENT)
    with serving(partial(Files, directory=str(tmp_path / "www"))) as at:
        yield f"{at}/a.pth"


class Heard:
    """A progress that remembers."""

    def __init__(self):
        self.total = self.done = 0

    @contextmanager
    def task(self, name, total, unit="pictures"):
        self.total = total

        def advance(n, note=""):
            self.done += n

        yield advance


@pytest.mark.parametrize("digits", [8, 12, 64])
def test_the_first_digits_of_a_checksum_are_enough_and_the_server_tells_the_size(address, tmp_path, digits):
    heard = Heard()
    download(address, tmp_path / "new" / "a.pth", sha256=SHA[:digits], progress=heard)
    assert (tmp_path / "new" / "a.pth").read_bytes() == CONTENT
    assert heard.total == heard.done == len(CONTENT)


def test_a_file_that_is_there_is_kept_and_a_damaged_one_fetched_anew(address, tmp_path):
    home = tmp_path / "a.pth"
    download(address, home, sha256=SHA[:8])
    (tmp_path / "www" / "a.pth").unlink()
    download(address, home, sha256=SHA[:8])
    home.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(Missing, match="cannot be downloaded"):
        download(address, home, sha256=SHA[:8])


def test_another_checksum_leaves_nothing_behind(address, tmp_path):
    with pytest.raises(BadData, match="its checksum differs"):
        download(address, tmp_path / "new" / "a.pth", sha256="0" * 8)
    assert not list((tmp_path / "new").iterdir())


def test_a_size_that_was_published_holds(address, tmp_path):
    with pytest.raises(BadData, match=f"{len(CONTENT)} bytes instead of {len(CONTENT) + 1}"):
        download(address, tmp_path / "a.pth", size=len(CONTENT) + 1, sha256=SHA)


def test_a_connection_that_breaks_is_told(tmp_path):
    with serving(Odd) as at, pytest.raises((BadData, Missing), match=r"bytes instead of|cannot be downloaded"):
        download(f"{at}/cut", tmp_path / "a.pth", sha256=SHA[:8])
    assert not (tmp_path / "a.pth").exists()


def test_a_server_that_tells_no_size_will_do(tmp_path):
    with serving(Odd) as at:
        download(f"{at}/b", tmp_path / "a.pth", sha256=SHA[:8])
    assert (tmp_path / "a.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(("url", "sha"), [("file:///etc/passwd", SHA), ("http://127.0.0.1/a", SHA[:7])])
def test_what_cannot_be_checked_is_not_fetched(tmp_path, url, sha):
    with pytest.raises(ValueError, match="needs an http address and a checksum"):
        download(url, tmp_path / "a", sha256=sha)
