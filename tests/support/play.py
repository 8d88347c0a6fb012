"""`make kafka`: one real broker for people to play with, on Kafka's usual port if that is free, until Ctrl-C."""

import signal
import sys
from typing import Final

from tests.support import jars
from tests.support.broker import ClusterError, KafkaCluster
from tests.support.ports import is_free

USUAL_PORT: Final = 9092


def main() -> str | None:
    """Run the broker; return what went wrong, if anything."""
    if not jars.possible():
        return f"Apache Kafka cannot run here: {jars.INSTALL}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("starting Apache Kafka ...", flush=True)
    try:
        with KafkaCluster(client_port=USUAL_PORT if is_free(USUAL_PORT) else None) as kafka:
            print(f"Apache Kafka listens on {kafka.bootstrap}; Ctrl-C ends it and forgets its data. To publish to it:")
            print(f"  AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS={kafka.bootstrap} make run", flush=True)
            kafka.nodes[0].process.wait()
    except KeyboardInterrupt:
        return None
    except (ClusterError, jars.JarsMissingError) as error:
        return str(error)
    return "the broker has ended by itself"


if __name__ == "__main__":
    sys.exit(main())
