"""The gateway: datagrams and TCP lines in, checked readings out to Kafka, and a ledger in which no line is missing.

The way of a reading, in a worker process:

receive.py, tcp.py   the sockets: datagrams in batches, lines of connections
admission.py         who may send, and how many lines a second
intake.py            takes them apart, counts each line, hands on what came of it
check.py             a line becomes a reading or a rejection; touches nothing else
sensors.py           what is known of each sensor: gaps, duplicates, disorder
publish.py           to Kafka, in order, until it is acknowledged, or to the spool
spool.py, segment.py the spool: an append-only log on disk
ledger.py            the counters
server.py            startup, main loop, shutdown
audit.py             the accepted log, for tests and audits
message.py           what goes to Kafka
signals.py           what asks it to end

Around them, in the parent process:

gateway.py             startup, main loop, shutdown of the whole
sockets.py           makes the sockets, which outlive a worker
workers.py           starts, replaces and ends worker processes; worker.py is what they run
files.py, report.py  what workers write down, and the sum of it: `mare ledger`
metrics.py           /metrics and /healthz; lagging.py is how far the sinks are behind
silence.py           notices that a buoy, or a variable of it, went silent; events.py tells everyone

And on its own: rejected.py, rejected_topic.py, rejected_stores.py are `mare rejected`.
"""
