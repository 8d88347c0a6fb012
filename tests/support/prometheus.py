"""A real Prometheus on a free port, which scrapes what a test runs and evaluates the rules that the test gives it.

`scrape` says what to scrape, also later, when a daemon comes back on another port; Prometheus takes up to 5 s to take
note. Scraping and evaluating are so frequent that a test hardly waits for them; `wait_until` waits for what is to be
seen. Everything here blocks.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import urlencode, urlsplit

from tests.support.ports import HOST, free_ports

SECONDS: Final = 60.0
"""Bound for every wait; what a test waits for comes within seconds."""

POLL_SECONDS: Final = 0.1
"""Between two looks at what is not there yet."""

INTERVAL: Final = "1s"
"""Between two scrapes, and between two evaluations of the rules; and what a scrape may take, on a busy machine."""

JOB: Final = "aurora-bridge"

Found = TypeVar("Found")


class PrometheusError(Exception):
    """Prometheus did not start, or does not take a query; carries its own words."""


class Sample(NamedTuple):
    """One series of an answer, with its value now."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """A Prometheus with its folder, as a context manager."""

    def __init__(
        self, program: str, folder: Path, *, rules: Iterable[Path] = (), more: Iterable[Mapping[str, object]] = ()
    ) -> None:
        """Keep configuration, data and log in `folder`, which is made; `more` are scrape configs."""
        self.log = folder / "prometheus.log"
        self._program, self._folder = program, folder
        self._targets = folder / "targets.json"
        (port,) = free_ports(1)
        self._address = f"{HOST}:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.scrape()
        configuration = {  # JSON is YAML
            "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": [str(path.resolve()) for path in rules],
            "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(self._targets)]}]}, *more],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._address}"

    def scrape(self, *urls: str) -> None:
        """Scrape the servers of these URLs from now on, `daemon.admin_url` for one, and no others."""
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": [urlsplit(url).netloc for url in urls]}]))
        fresh.rename(self._targets)  # it watches the folder, and must not read half a file

    def start(self) -> None:
        """Start the process; return once it answers queries."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_until("it is ready", Prometheus._ready)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(SECONDS)

    def query(self, expression: str) -> list[Sample]:
        """Return the samples of an instant query, now. Raises `PrometheusError` for one that fails."""
        found = self.get("/api/v1/query", query=expression)
        if found["resultType"] != "vector":
            message = f"not a vector but a {found['resultType']}: {expression}"
            raise PrometheusError(message)
        return [Sample(series["metric"], float(series["value"][1])) for series in found["result"]]

    def firing(self) -> list[dict[str, str]]:
        """Return the labels of all alerts that fire."""
        return [alert["labels"] for alert in self.get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever Prometheus says
        """Return the `data` of an answer of its API. Raises `PrometheusError`."""
        body = json.loads(self._read(f"{path}?{urlencode(parameters)}")[1])
        if body["status"] != "success":
            message = f"{body['errorType']}: {body['error']}: {parameters}"
            raise PrometheusError(message)
        return body["data"]

    def wait_until(self, what: str, look: Callable[["Prometheus"], Found], within: float = SECONDS) -> Found:
        """Return what `look` finds, once that is true. Fails after `within` seconds, or when Prometheus has ended."""
        process = self._process
        deadline = monotonic() + within
        while not (found := look(self)):
            if process is None or process.poll() is not None or monotonic() > deadline:
                tail = "\n".join(self.log.read_text().splitlines()[-10:])
                message = f"not so after {within:g} s, or before Prometheus ended: {what}\n{tail}"
                raise AssertionError(message)
            with suppress(subprocess.TimeoutExpired):  # the pause between two looks; a death ends it
                process.wait(POLL_SECONDS)
        return found

    def wait_until_scraped(self, *urls: str) -> None:
        """Return once exactly these are scraped, and each was with success.

        Not all at one time: on a busy machine one of many is always late.
        """
        wanted, seen = {urlsplit(url).netloc for url in urls}, set[str]()

        def all_were(prometheus: Prometheus) -> bool:
            scraped = prometheus.query("up")
            seen.update(sample.labels["instance"] for sample in scraped if sample.value)
            return {sample.labels["instance"] for sample in scraped} == wanted <= seen

        self.wait_until(f"{wanted} are up", all_were)

    def wait_until_evaluated(self) -> None:
        """Return once every group of rules was evaluated again, with all that has been scraped up to now."""
        now = datetime.now(UTC)

        def all_were(prometheus: Prometheus) -> bool:
            groups = prometheus.get("/api/v1/rules")["groups"]
            return all(datetime.fromisoformat(group["lastEvaluation"]) > now for group in groups)

        self.wait_until("all rules are evaluated again", all_were)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        with suppress(ConnectionError):
            return self._read("/-/ready")[0] == 200
        return False

    def _read(self, target: str) -> tuple[int, bytes]:
        connection = HTTPConnection(self._address, timeout=SECONDS)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
