"""The gateway: UDP datagrams in, checked readings out to Kafka, and a ledger in which no line is missing.

receive.py   the socket: datagrams, and how many the kernel dropped
check.py     a line becomes a reading or a rejection; touches nothing else
intake.py    takes a datagram apart, counts each line, hands on what came of it
publish.py   to Kafka, in order, until it is acknowledged
ledger.py    the counters and the file they are read from
server.py    startup, main loop, shutdown
log.py       logfmt on stderr, repeated warnings held back
"""
