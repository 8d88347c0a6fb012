"""A headless Chromium, told by its DevTools protocol over a pipe what to show and in how wide a window.

https://chromedevtools.github.io/devtools-protocol/ has the methods.
"""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Final, Self

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
SECONDS: Final = 120
OPTIONS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")


def chromium() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A page of a browser that ends after `SECONDS` at the latest."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._last = 0
        self._session: str | None = None
        self._received = bytearray()
        self._seen: set[str] = set()
        """The events that came since the last page was asked for."""

    def __enter__(self) -> Self:
        child_reads, write = os.pipe()
        read, child_writes = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4. (dash cannot duplicate descriptors above 9.)
        script = f'exec "$0" "$@" 3<&{child_reads} 4>&{child_writes}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", script, self._program, *OPTIONS],
            pass_fds=(child_reads, child_writes),
            stderr=subprocess.DEVNULL,
        )
        os.close(child_reads)
        os.close(child_writes)
        self._write, self._read = os.fdopen(write, "wb", buffering=0), os.fdopen(read, "rb")
        self._timer = Timer(SECONDS, self._process.kill)
        self._timer.start()
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._write.close()
        self._read.close()

    def show(self, url: str, width: int, *, dark: bool = False) -> int:
        """Load a page in a window of `width` CSS pixels; return how wide it is, which is more if it does not fit."""
        phone = width < 500
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._seen.clear()
        self._call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._seen:
            self._receive()
        found = self._call("Runtime.evaluate", expression="document.documentElement.scrollWidth")
        return int(found["result"]["value"])

    def photograph(self, picture: Path) -> None:
        """Write the whole page into a file, as PNG."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        picture.write_bytes(b64decode(found["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            data = self._read.read1()
            if not data:
                msg = "the browser ended"
                raise ConnectionError(msg)
            self._received += data
        line, _, rest = self._received.partition(b"\0")
        self._received = rest
        message: dict[str, Any] = json.loads(line)
        self._seen.add(message.get("method", ""))
        return message
