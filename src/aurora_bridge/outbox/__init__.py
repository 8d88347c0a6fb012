"""How an event becomes durable: in Kafka, else in the spool.

`publisher` keeps deadlines and the order of a topic (`backlog`), `spool` is the durable queue, `drainer` empties it
into Kafka, `quarantine` holds what Kafka rejects.
"""
