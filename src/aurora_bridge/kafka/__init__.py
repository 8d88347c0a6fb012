"""Where events leave, and the only room that knows aiokafka.

`sender` brings records to their partitions: `partition_queue` has what becomes of a batch, `error_actions` what Kafka's
codes do to it, `requests` and `broker` what goes to a broker when. `client` and `produce` hold the calls below
aiokafka's producer, `client_keeper` the life of a client. `follower` reads what others published, `topics` creates the
topics. `security` secures the connections, `problems` says what is wrong with them.
"""
