"""A report of doubles as a document; and headless Chromium, by its DevTools protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import pytest

from vlm_report.page.document import Document
from vlm_report.page.html import html_of
from vlm_report.recommendation import recommendations_of
from vlm_report.records import Records
from vlm_report.render import report_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
NO_BROWSER = "no Chromium (scripts/install_system.sh installs it on Debian)"
LIMIT_S = 60


class Page:
    """One tab, opened by `with`. It keeps what the page complained about and what it asked the network for."""

    def __init__(
        self, profile: Path, width: int = 1280, height: int = 900, *, dark: bool = False, script: bool = True
    ) -> None:
        self.path = Path()  # of the file that is open
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._profile, self._width, self._height, self._dark, self._script = profile, width, height, dark, script
        self._number, self._events = 0, deque[dict[str, Any]]()

    def __enter__(self) -> "Page":
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        words = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        words += [f"--user-data-dir={self._profile}", "--remote-debugging-pipe", "about:blank"]
        shell = f'exec "$@" 3<&{to_read} 4>&{to_write}'  # the browser reads commands there, and answers there
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "-", *words],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._session = b"", ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(self._width, self._height)
        self.emulate()
        self.call("Emulation.setScriptExecutionDisabled", value=not self._script)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def emulate(self, media: str = "") -> None:
        """Light or dark as the page was opened; `media` is `print` or, for a screen, empty."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file of this machine, and wait until it has loaded."""
        self.path = path
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._wait(lambda event: event["method"] == "Page.loadEventFired")

    def wait(self, condition: str, seconds: float = 5.0) -> None:
        """Until a script's expression holds. Raises AssertionError where it does not in so many seconds."""
        until = time.monotonic() + seconds
        while not self.run(f"!!({condition})"):
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of a script's expression; of a promise, what it comes to. Raises AssertionError where it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """One key, by its name in KeyboardEvent."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key)
        down = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            given = down if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **given)

    def point(self, selector: str, *, click: bool = False, scroll: bool = True) -> None:
        """Move the pointer to the middle of an element, brought into sight, and perhaps click there."""
        into_sight = "e.scrollIntoView({block: 'center'});" * scroll
        box = self.run(
            f"(async e => {{ {into_sight} await new Promise(requestAnimationFrame);"
            " await new Promise(requestAnimationFrame); const b = e.getBoundingClientRect();"
            f" return [b.x + b.width / 2, b.y + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
        )
        kinds = ("mouseMoved", "mousePressed", "mouseReleased") if click else ("mouseMoved",)
        for kind in kinds:
            pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], **pressed)

    def texts(self, selector: str) -> list[str]:
        """Of all elements that are not hidden."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => e.checkVisibility())"
            ".map(e => e.textContent.trim())"
        )
        return found

    def screenshot(self, *, whole: bool = False) -> bytes:
        """PNG of what is in sight, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer. Raises AssertionError where the browser refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _wait(self, ends: Callable[[dict[str, Any]], bool]) -> None:
        while True:
            event = self._events.popleft() if self._events else self._note(self._read())
            if ends(event):
                return

    def _note(self, event: dict[str, Any]) -> dict[str, Any]:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(said["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        self._events.append(event)
        return event

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            able, _, _ = select.select([self._in], [], [], LIMIT_S)
            more = os.read(self._in, 1 << 16) if able else b""
            assert more, f"the browser ended, or said nothing for {LIMIT_S} s"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@pytest.fixture(scope="session")
def records(double: SimpleNamespace) -> Records:
    """Measured, estimated, reported, invalid and unmeasured rows of doubles, on two targets and beside a document."""
    nets = [f"double_net_{index}" for index in range(6)]
    artifact = "{}-doubles-5000-s0.onnx-fp32".format
    versions = {f"double-library-of-a-long-name-{index}": "0.0.0+double" for index in range(6)}
    made = [double.manifest(artifact(net), 90.0 + i, backbone=net, versions=versions) for i, net in enumerate(nets)]
    found: Records = double.all(
        *(double.trained(net, samples) for net in nets for samples in (5000, 10_000)),
        *made,
        *(double.measurement(artifact(net), 4.0 + 3 * (index % 4)) for index, net in enumerate(nets)),
        double.measurement(artifact(nets[0]), 30.12, batch=8, verdicts=(double.contended,)),
        *(double.estimate(artifact(net), 9.0 + index, target="jetson-orin-nano") for index, net in enumerate(nets[:4])),
        double.reported_run(),
        double.reported_model(),
        double.reported_measurement(),
    )
    return found


@pytest.fixture(scope="session")
def document(records: Records) -> Document:
    return report_of(records, recommendations_of(records)).document


@pytest.fixture(scope="session")
def page(document: Document) -> str:
    return html_of(document)


Browse = Callable[..., Page]


@pytest.fixture
def browse(page: str, tmp_path: Path) -> Iterator[Browse]:
    """Opens the report, or another page, in a browser; skips where there is none."""
    if not BROWSER:
        pytest.skip(NO_BROWSER)
    with ExitStack() as stack:

        def opened(text: str = page, **how: Any) -> Page:
            file = tmp_path / "report.html"
            file.write_text(text, encoding="utf-8")
            tab = stack.enter_context(Page(tmp_path / "profile", **how))
            tab.open(file)
            return tab

        yield opened
