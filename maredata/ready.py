"""Waiting for Kibana, which needs minutes at its first start, and is no engine of the local mode."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from maredata.errors import EngineTimedOut
from maredata.settings import Settings

_PATIENCE = 300.0  # seconds
_PAUSE = 2.0


def await_kibana(
    settings: Settings, progress: Callable[[str], None], patience: float = _PATIENCE, pause: float = _PAUSE
) -> None:
    """Returns once Kibana says that it is available. Raises EngineTimedOut after `patience` seconds."""
    url = f"{settings.kibana.url}/api/status"
    progress("waiting for Kibana")

    def available() -> bool:
        try:
            return httpx.get(url, timeout=10, trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    attempts = Retrying(
        retry=retry_if_result(lambda there: not there), wait=wait_fixed(pause), stop=stop_after_delay(patience)
    )
    try:
        attempts(available)
    except RetryError:
        raise EngineTimedOut(
            f"Kibana at {settings.kibana.url} was not available within {patience:.0f} s: look at"
            " `docker compose logs kibana`; everything else is set up, and `docker compose run --rm setup` goes on."
        ) from None
