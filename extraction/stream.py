"""A session whose results stream fast. mysql-connector-python reads a row at a time through many layers; where it is
pure Python, that costs three times what the rows themselves do.
"""

from __future__ import annotations

import socket
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.errors import InterfaceError, OperationalError, ReadTimeoutError
from mysql.connector.network import NetworkBrokerPlain

_CHUNK = 256 << 10  # bytes asked of the socket at once
_HEADER = 4  # bytes of a packet: three of length, one number


class Streaming:
    """What a reader of raw rows needs of a session: `cursor(raw=True)` and `close()`."""

    def __init__(self, session: MySQLConnectionAbstract) -> None:
        self._session = session
        # None of it is public. Where it is not as expected (the compiled connector has none of it), nothing is changed.
        wire = getattr(session, "_socket", None)
        if type(getattr(wire, "_netbroker", None)) is NetworkBrokerPlain:
            wire._netbroker = _Buffered()  # type: ignore[union-attr]  # see above

    def cursor(self, raw: bool) -> _Cursor:
        assert raw  # noqa: S101  # it knows nothing else
        return _Cursor(self._session)

    def close(self) -> None:
        self._session.close()


class _Cursor:
    """Fetches portions of rows with one call each, which the connector's own cursors make one a row."""

    def __init__(self, session: MySQLConnectionAbstract) -> None:
        self._session = session
        self._more = False

    def execute(self, sql: str) -> None:
        self._session.cmd_query(sql, raw=True)
        self._more = True

    def fetchmany(self, size: int) -> list[Any]:
        if not self._more:
            return []
        rows, end = self._session.get_rows(count=size, raw=True)
        self._more = end is None
        return rows

    def close(self) -> None:
        pass  # it is read to its end


class _Buffered(NetworkBrokerPlain):
    """Takes packets out of what one call of the socket brought, instead of calling it twice for each."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._at = 0

    def recv(self, sock: socket.socket, address: str) -> bytearray:
        if len(self._buffer) - self._at < _HEADER:
            self._fill(sock, address, _HEADER)
        size = _HEADER + int.from_bytes(self._buffer[self._at : self._at + 3], "little")
        if len(self._buffer) - self._at < size:
            self._fill(sock, address, size)
        begin = self._at
        self._pktnr = self._buffer[begin + 3]
        self._at = begin + size
        return self._buffer[begin : self._at]

    def _fill(self, sock: socket.socket, address: str, size: int) -> None:
        """Reads until so many bytes are there. Raises what the connector raises."""
        buffer, self._at = self._buffer[self._at :], 0
        try:
            while len(buffer) < size:
                chunk = sock.recv(max(_CHUNK, size - len(buffer)))
                if not chunk:
                    raise InterfaceError(errno=2013)
                buffer += chunk
        except TimeoutError as error:
            raise ReadTimeoutError(errno=3024, msg=error.strerror) from error
        except OSError as error:
            raise OperationalError(errno=2055, values=(address, str(error))) from error
        self._buffer = buffer
