"""What comes in that no client should send: malformed HTTP, malformed URLs. Spans are those at scale 1."""

from tests.faults.aurora import TOKEN
from tests.faults.fuzz import Fuzzer
from tests.faults.scenario import Scenario
from tests.faults.stage import AUTHENTICATED, Stage
from tests.samples.load import MALFORMED_TOKEN, load_malformed
from tests.support.replay import replay


def malformed(stage: Stage) -> None:
    """All malformed requests of the corpus, then a fuzzer for five minutes, next to the load."""
    stage.tokens.write_text(f"{TOKEN}\n{MALFORMED_TOKEN}\n")
    stage.beside = lambda record: b'"key":' not in (record.value or b"")
    with stage.load():
        wrong = replay(stage.daemon.url, load_malformed())
        fuzzer = Fuzzer(stage.daemon.url, AUTHENTICATED, stage.folder)
        try:
            fuzzer.run(stage.span(300))
        except AssertionError as found:
            wrong.append(str(found))
    lines = {line["message"] for line in stage.daemon.log_lines() if line["level"] in {"ERROR", "CRITICAL"}}
    stage.measured["requests of the fuzzer"] = fuzzer.sent
    stage.measured["ids that stand for one content each"] = len(fuzzer.meanings)
    stage.complaints += wrong
    stage.expect(not lines, f"the log has {lines}")


SCENARIOS = [Scenario("16-malformed", malformed, nodes=1)]
