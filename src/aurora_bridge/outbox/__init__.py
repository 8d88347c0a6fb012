"""Makes events durable: in Kafka, else in the spool.

`publisher` keeps the deadlines and the order of each topic (`backlog`), `spool` is the durable queue, `drainer` empties
it into Kafka, `quarantine` holds what Kafka rejects.
"""
