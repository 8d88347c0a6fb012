"""Talks to Kafka. No other package imports aiokafka.

`sender` queues records by partition: `partition_queue` holds the state of each batch, `error_actions` says what each of
Kafka's error codes does to it, `produce_requests` and `broker` decide what goes to a broker and when. `client` and
`produce_protocol` are the layer below aiokafka's producer; `client_keeper` reconnects. `follower` reads what other
replicas published, `create_topics` creates missing topics. `security` secures the connections, `problems` reports what
is wrong with them.
"""
