"""Downloads over the loopback: whole, cut off, continued, damaged, refused."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_train.sources._download import Remote, fetched

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(HTTPServer):
    """Serves CONTENT at every path. What it was asked for stands in `ranges`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.status = 200
        self.ends_after: int | None = None  # bytes of an answer
        self.content = CONTENT

    def remote(self, *paths: str) -> Remote:
        return Remote("some.bin", tuple(f"http://127.0.0.1:{self.server_port}/{path}" for path in paths or ("a",)), MD5)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        begin = int(asked[len("bytes=") : -1]) if asked and self.server.knows_ranges else 0
        body = self.server.content[begin:]
        if self.path == "/missing" or self.server.status != 200:
            self.send_error(404 if self.path == "/missing" else self.server.status)
            return
        if asked and not body:
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.ends_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(remote: Remote) -> Path:
    return fetched(remote, "some", lambda text: None)


def test_a_file_is_downloaded_once(server: Server, data_folder: Path) -> None:
    assert get(server.remote()).read_bytes() == CONTENT
    assert get(server.remote()) == data_folder / "some/some.bin"
    assert len(server.ranges) == 1
    assert [path.name for path in (data_folder / "some").glob("some*")] == ["some.bin"]


def test_progress_tells_how_much_there_is(server: Server) -> None:
    said: list[str] = []
    fetched(server.remote(), "some", said.append)
    assert said[-1] == "some.bin  0 of 0 MB"


def test_a_download_that_was_cut_off_is_continued(server: Server, data_folder: Path) -> None:
    server.ends_after = 1000
    with pytest.raises(VlmError, match="could not be downloaded") as caught:
        get(server.remote())
    assert "continues" in caught.value.hint
    assert not (data_folder / "some/some.bin").exists()
    server.ends_after = None
    assert get(server.remote()).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


def test_a_server_that_ignores_ranges_sends_the_whole_again(server: Server, data_folder: Path) -> None:
    (data_folder / "some").mkdir(parents=True)
    (data_folder / "some/some.bin.part").write_bytes(CONTENT[:500])
    server.knows_ranges = False
    assert get(server.remote()).read_bytes() == CONTENT


def test_a_whole_file_that_was_not_yet_renamed_is_used(server: Server, data_folder: Path) -> None:
    (data_folder / "some").mkdir(parents=True)
    (data_folder / "some/some.bin.part").write_bytes(CONTENT)
    assert get(server.remote()).read_bytes() == CONTENT


def test_a_download_with_another_checksum_leaves_nothing(server: Server, data_folder: Path) -> None:
    server.content = b"<html>another page</html>"
    with pytest.raises(VlmError, match=f"its md5 is .*, expected {MD5}"):
        get(server.remote())
    assert not list((data_folder / "some").glob("some*"))


def test_a_file_put_there_by_hand_is_checked(server: Server, data_folder: Path) -> None:
    (data_folder / "some").mkdir(parents=True)
    (data_folder / "some/some.bin").write_bytes(b"other")
    with pytest.raises(VlmError, match="is damaged, or is another file") as caught:
        get(server.remote())
    assert f"rm {data_folder / 'some/some.bin'}" in caught.value.hint
    assert not server.ranges


def test_a_second_address_is_tried(server: Server) -> None:
    assert get(server.remote("missing", "b")).read_bytes() == CONTENT


def test_without_a_network_the_error_says_where_to_put_which_file(data_folder: Path) -> None:
    unreachable = Remote("some.bin", ("http://127.0.0.1:9/some.bin",), MD5)
    with pytest.raises(VlmError, match="could not be downloaded") as caught:
        get(unreachable)
    assert f"put the file there by hand: {data_folder / 'some/some.bin'}, md5 {MD5}" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(data_folder: Path, server: Server) -> None:
    data_folder.write_text("a file in the place of the folder")
    with pytest.raises(VlmError, match="cannot be written: Not a directory"):
        get(server.remote())
