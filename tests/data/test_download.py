"""What comes from the network is put in place if it is what was published, and not otherwise."""

import gzip
import hashlib
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import spec
from densenet_tools.data import download

CONTENT = bytes(range(256)) * 10
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def published(tmp_path):
    (tmp_path / "there.gz").write_bytes(gzip.compress(CONTENT))
    return tmp_path / "there.gz"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "a" / "b" / "here.gz"


def test_a_file_is_put_in_place_as_it_was_packed(published, place):
    download.fetch(published.as_uri(), place, DIGEST)
    assert place.read_bytes() == published.read_bytes()
    assert [path.name for path in place.parent.iterdir()] == ["here.gz"]


BAD = {
    "another": (
        gzip.compress(b"another"),
        f"another file than expected (its SHA-256, unpacked, is {hashlib.sha256(b'another').hexdigest()})",
    ),
    "cut off": (
        gzip.compress(CONTENT)[:-1],
        "a damaged file (Compressed file ended before the end-of-stream marker was reached)",
    ),
    "a page": (b"<html>", "a damaged file (Not a gzipped file (b'<h'))"),
}


@pytest.mark.parametrize("case", BAD)
def test_another_file_is_refused_and_none_is_kept(published, place, case):
    content, reason = BAD[case]
    published.write_bytes(content)
    with pytest.raises(spec.SpecError) as error:
        download.fetch(published.as_uri(), place, DIGEST)
    assert str(error.value) == f"{published.as_uri()} gives {reason}"
    assert not place.exists()


def test_a_bomb_is_unpacked_to_the_limit_only(published, place, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 2**12)
    published.write_bytes(gzip.compress(bytes(2**20)))
    with pytest.raises(spec.SpecError, match=f"SHA-256, unpacked, is {hashlib.sha256(bytes(2**12)).hexdigest()}"):
        download.fetch(published.as_uri(), place, DIGEST)


def test_a_folder_that_cannot_be_made_is_named(published, tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(spec.SpecError) as error:
        download.fetch(published.as_uri(), tmp_path / "a" / "b" / "here.gz", DIGEST)
    assert str(error.value) == f"{tmp_path / 'a' / 'b'} cannot be made (Not a directory)"


class Missing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def log_message(self, *arguments):
        pass


def test_what_a_server_does_not_have_is_said_in_its_words(place):
    with HTTPServer(("127.0.0.1", 0), Missing) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(spec.SpecError, match=r"/x\.gz cannot be read \(Not Found\)"):
            download.fetch(f"http://127.0.0.1:{server.server_port}/x.gz", place, DIGEST)
        thread.join()


def test_a_silent_server_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(download, "SILENCE", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,  # takes calls, and never answers
        pytest.raises(spec.SpecError, match=r"/x\.gz cannot be read \(timed out\)"),
    ):
        download.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/x.gz", place, DIGEST)


def test_the_cache_is_where_the_user_has_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache() == tmp_path / "densenet-reference"
    monkeypatch.setenv("HOME", "/home/someone")
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert download.cache() == Path("/home/someone/.cache/densenet-reference")
