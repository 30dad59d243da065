"""The job file: one TOML file that says which table is moved, as what, and where to.

The file's stem is the job's name, and `legacy-<name>` its index, but for the store's own table `readings`.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from maredata.errors import MareError
from maredata.names import READINGS
from maredata.settings import Settings

INDEX_PREFIX = "legacy-"
STORE_PASSWORD = "MARE_MARIADB__PASSWORD"  # noqa: S105  # the variable of it
TLS_FREE = ("127.0.0.1", "localhost", "::1")
_LONGEST_NAME = 200  # characters of a job's name: an index's name has at most 255 bytes
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{_LONGEST_NAME - 1}}}")
_LONGEST_FIELD = 255


class JobError(MareError):
    """A job can't be used as it is written, or not on this table; the sentence says what to change."""

    exit_status = 2


class Decimals(StrEnum):
    """What a DECIMAL becomes: a JSON number with all its digits (indexed as double or scaled_float), or a string."""

    DOUBLE = "double"
    SCALED_FLOAT = "scaled_float"
    STRING = "string"


class Blobs(StrEnum):
    BASE64 = "base64"
    OMIT = "omit"


class Deletes(StrEnum):
    """What a delete in the source does to the document: nothing (it is counted), or the same."""

    KEEP = "keep"
    MIRROR = "mirror"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'there is no time zone {name!r}: write one such as "Europe/Madrid" or "UTC"') from None
    return name


def _field_name(name: str) -> str:
    # A dot would make an object of it; Elasticsearch keeps names that begin with _ for itself.
    if not name.strip() or name.startswith("_") or "." in name or len(name) > _LONGEST_FIELD:
        raise ValueError(f"a field can't be named {name[:64]!r}: it must not be empty, begin with _ or contain a dot")
    return name


def _instant(value: Any) -> Any:
    """TOML has dates and local times; without a zone they are UTC here, like every time."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return value


Zone = Annotated[str, AfterValidator(_zone)]
FieldName = Annotated[str, AfterValidator(_field_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Server(_Part):
    """The way to a database. The password stands in the environment variable that `password_env` names."""

    host: str = "127.0.0.1"
    port: int = Field(3306, ge=1, le=65_535)
    database: str = Field(min_length=1)
    user: str = Field(min_length=1)
    password_env: str | None = None
    tls: bool | None = None  # None: not on loopback, where it halves the speed and protects nothing

    @property
    def encrypted(self) -> bool:
        return self.tls if self.tls is not None else self.host not in TLS_FREE


class Source(Server):
    """The table, and how it is walked."""

    table: str = Field(min_length=1)
    key: tuple[str, ...] = Field(min_length=1)
    where: str | None = None
    range_rows: int = Field(50_000, ge=100, le=10_000_000)

    @model_validator(mode="before")
    @classmethod
    def _lists_and_no_password(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "password" in value:
            raise ValueError(
                "a password must not stand in a job file: put it into an environment variable, and write"
                ' password_env = "THE_VARIABLE" instead'
            )
        key = value.get("key")
        if isinstance(key, str | list):
            return {**value, "key": (key,) if isinstance(key, str) else tuple(key)}
        return value


class Target(_Part):
    deletes: Annotated[Deletes, BeforeValidator(lambda value: _choice(Deletes, value))] = Deletes.KEEP
    purged_before: Annotated[dt.datetime | None, BeforeValidator(_instant)] = None


class Time(_Part):
    """The column that says when a row's event was; it becomes canonical UTC text."""

    column: str
    field: FieldName = "timestamp"
    zone: Zone


class Place(_Part):
    """Two columns, or one POINT column (x is the longitude), that become a geo_point."""

    longitude: str | None = None
    latitude: str | None = None
    point: str | None = None

    @model_validator(mode="after")
    def _one_or_two(self) -> Place:
        pair = (self.longitude is not None) + (self.latitude is not None)
        if (pair, self.point is not None) not in ((2, False), (0, True)):
            raise ValueError("a location needs longitude and latitude, or point, and not both")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in (self.longitude, self.latitude, self.point) if name is not None)


class ColumnOptions(_Part):
    """How one column is moved. What is not said follows from the column's type."""

    field: FieldName
    type: str | None = None  # Elasticsearch's
    zone: Zone | None = None
    decimal: Annotated[Decimals, BeforeValidator(lambda value: _choice(Decimals, value))] = Decimals.DOUBLE
    factor: int | None = Field(None, ge=1)
    blob: Annotated[Blobs, BeforeValidator(lambda value: _choice(Blobs, value))] = Blobs.BASE64


class Job(_Part):
    """A job file's content. `name` is the file's stem."""

    name: str
    source: Source
    target: Target = Target()
    time: Time | None = None
    locations: dict[FieldName, Place] = {}
    columns: dict[str, ColumnOptions] = {}
    path: Literal["sql", "python"] = "sql"

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """`name = "field"` for `name = { field = "field" }`, and a field that is named as its column."""
        if not isinstance(value, dict) or not isinstance(value.get("columns"), dict):
            return value
        columns = {}
        for name, options in value["columns"].items():
            if isinstance(options, str):
                columns[name] = {"field": options}
            else:
                columns[name] = {"field": name, **options} if isinstance(options, dict) else options
        return {**value, "columns": columns}

    @model_validator(mode="after")
    def _each_once(self) -> Job:
        used = [*self.columns, *(name for place in self.locations.values() for name in place.columns)]
        fields = [*(options.field for options in self.columns.values()), *self.locations]
        if self.time is not None:
            used.append(self.time.column)
            fields.append(self.time.field)
        for name in used:
            if used.count(name) > 1:
                raise ValueError(f"column {name} is used twice: keep it in one of [columns], [time] and [locations]")
        for name in fields:
            if fields.count(name) > 1:
                raise ValueError(f"two columns would become field {name}: rename one of them")
        if not fields:
            raise ValueError("no column is to be moved: list them under [columns]")
        if self.target.purged_before is not None and self.time is None:
            raise ValueError("purged_before needs a [time] column to compare with")
        return self

    @property
    def index(self) -> str:
        """The one index of a table that is not the store's own `readings`."""
        return f"{INDEX_PREFIX}{self.name}"


def load_job(path: Path) -> Job:
    """The job in the file at `path`. Raises JobError with the entry that is wrong and what to write."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise JobError(f"There is no job file {path}: write one with `mare extract init TABLE`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobError(f"{path} is not TOML: {error}.") from None
    if "name" in content:
        raise JobError(f"{path}: name can't be set, since a job is named as its file.")
    if "password" in content:
        raise JobError(f"{path}: a password must not stand in a job file: name its variable in source.password_env.")
    try:
        return Job.model_validate({**content, "name": job_name(path)})
    except ValidationError as error:
        raise JobError(f"{path}: {_sentence(error)}.") from None


def job_name(path: Path) -> str:
    """The stem of a job file, which becomes part of an index's name. Raises JobError where it can't."""
    if path.suffix != ".toml" or not _NAME.fullmatch(path.stem):
        raise JobError(
            f"A job file can't be named {path.name!r}: use small letters, digits, - and _, then .toml,"
            " since its name becomes part of an index's name."
        )
    return path.stem


def moves_readings(server: Server, table: str, settings: Settings) -> bool:
    """Whether this is the store's own table of readings, whose documents go where live readings go."""
    ours = settings.mariadb
    return (_place_of(ours.host), ours.port, ours.database, READINGS) == (
        _place_of(server.host),
        server.port,
        server.database,
        table,
    )


def password_of(server: Server, settings: Settings) -> str:
    """The password of the server's user. Raises JobError where its variable is not set."""
    store = settings.mariadb
    if server.password_env is not None and server.password_env in os.environ:
        return os.environ[server.password_env]
    same = (_place_of(server.host), server.port, server.user) == (_place_of(store.host), store.port, store.user)
    if same and server.password_env in (None, STORE_PASSWORD):
        return store.password  # it can stand in .env, or be the default
    if server.password_env is None:
        raise JobError(
            f"There is no password for {server.user} at {server.host}: put it into an environment variable,"
            " and name that in source.password_env."
        )
    raise JobError(f"{server.password_env} is not set: put the password of {server.user} at {server.host} there.")


def _place_of(host: str) -> str:
    return "loopback" if host in TLS_FREE else host


def _choice(kind: type[StrEnum], value: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{value!r} is none of {', '.join(kind)}") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"there is no entry {place}; `mare extract init` writes all that there are"
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
