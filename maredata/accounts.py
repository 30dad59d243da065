"""Elasticsearch's accounts and roles, where its security is on: in containers.

Passwords come from the settings and are set each time, so that a new one is an edit and another `mare setup`. Only the
password of `elastic`, who does all this, is none of them: Elasticsearch's start script puts it in.
"""

from __future__ import annotations

from collections.abc import Callable

from elastic_transport import TransportError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from maredata.errors import SettingsError, StoreError
from maredata.names import EVENTS_INDICES, METRICS_INDICES, READINGS_PATTERN, REJECTED_INDICES
from maredata.settings import Settings

Progress = Callable[[str], None]

ROLE = "mare"
OBSERVER = "observer"
# What our programs write: readings, what extraction jobs move, and what tells how the pipeline fares.
INDICES = (READINGS_PATTERN, "legacy-*", f"{REJECTED_INDICES}-*", f"{EVENTS_INDICES}-*", f"{METRICS_INDICES}-*")
# Templates are of the whole cluster; the rest of it our programs only look at.
_CLUSTER = ("monitor", "manage_index_templates")
# kibana_admin writes Kibana's objects; editor works with them, and reads every index that is not the system's.
_OURS = (ROLE, "kibana_admin")
_OBSERVERS = ("editor",)
_PATIENCE = 120.0  # seconds
_PAUSE = 2.0
_STARTING = (408, 503)  # not yellow in time; no master


def apply_accounts(settings: Settings, progress: Progress, patience: float = _PATIENCE) -> None:
    """Makes role and accounts as they should be, and sets every password. Can be repeated.

    Raises:
        SettingsError: a password is missing.
        StoreError: Elasticsearch did not answer within `patience` seconds, or refused.
    """
    passwords = settings.accounts
    for name, value in (
        ("MARE_ACCOUNTS__ELASTIC", passwords.elastic),
        ("MARE_ACCOUNTS__KIBANA_SYSTEM", passwords.kibana_system),
        ("MARE_ACCOUNTS__OBSERVER", passwords.observer),
        ("MARE_ELASTICSEARCH__USER", settings.elasticsearch.user),
        ("MARE_ELASTICSEARCH__PASSWORD", settings.elasticsearch.password),
    ):
        if not value:
            raise SettingsError(f"{name} is empty: run installs/make_env.sh, and start the containers with its .env.")
    url = settings.elasticsearch.url
    with Elasticsearch(url, basic_auth=("elastic", passwords.elastic), request_timeout=30, max_retries=0) as client:
        try:
            _await_answer(client, patience)
            _apply(settings, client)
        except AuthenticationException:
            raise StoreError(
                f"Elasticsearch at {url} does not take the password of elastic: start it again with the .env of now"
                " (docker compose up -d elasticsearch), and don't change that password in Kibana."
            ) from None
        except (ApiError, TransportError) as error:
            raise StoreError(f"Elasticsearch at {url} did not set up its accounts: {error}.") from error
    progress(f"accounts: kibana_system, {settings.elasticsearch.user}, {OBSERVER}")


def _await_answer(client: Elasticsearch, patience: float) -> None:
    """Until there is a master: before, accounts can't be written."""
    attempts = Retrying(
        retry=retry_if_exception(_passes), wait=wait_fixed(_PAUSE), stop=stop_after_delay(patience), reraise=True
    )
    attempts(lambda: client.cluster.health(wait_for_status="yellow", timeout="10s"))


def _passes(error: BaseException) -> bool:
    """Whether it is only that Elasticsearch is not there yet."""
    return isinstance(error, TransportError) or (isinstance(error, ApiError) and error.status_code in _STARTING)


def _apply(settings: Settings, client: Elasticsearch) -> None:
    chosen, passwords = settings.elasticsearch, settings.accounts
    client.security.put_role(
        name=ROLE, cluster=list(_CLUSTER), indices=[{"names": list(INDICES), "privileges": ["all"]}]
    )
    client.security.change_password(username="kibana_system", password=passwords.kibana_system)
    client.security.put_user(username=chosen.user, password=chosen.password, roles=list(_OURS), full_name="Mare Data")
    client.security.put_user(
        username=OBSERVER, password=passwords.observer, roles=list(_OBSERVERS), full_name="Observatory"
    )
