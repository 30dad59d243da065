"""Job files: what they say, and that each mistake in one is named in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from extraction.grants import grants
from extraction.job import Deletes, JobError, load_job, moves_readings, password_of
from maredata.settings import Settings

JOB = """
[source]
host = "db.example"
database = "shop"
table = "orders"
user = "extract"
password_env = "SHOP_PASSWORD"
key = ["shop_id", "order_id"]

[target]
purged_before = 2020-01-01

[time]
column = "ordered"
zone = "Europe/Madrid"

[locations.location]
longitude = "lon"
latitude = "lat"

[columns]
shop_id = "shop_id"
total = { field = "price", decimal = "scaled_float", factor = 100 }
"""


def written(folder: Path, text: str, name: str = "orders.toml") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_a_job_says_what_is_moved_and_where_to(tmp_path: Path) -> None:
    job = load_job(written(tmp_path, JOB))
    assert (job.name, job.index) == ("orders", "legacy-orders")
    assert job.source.key == ("shop_id", "order_id")
    assert job.source.encrypted, "by default everywhere but on loopback"
    assert job.target.deletes is Deletes.KEEP
    assert job.target.purged_before == datetime(2020, 1, 1, tzinfo=UTC)
    assert job.columns["shop_id"].field == "shop_id"
    assert job.columns["total"].factor == 100
    assert job.time is not None
    assert job.time.field == "timestamp"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('user = "extract"', 'user = "extract"\npassword = "x"', "a password must not stand in a job file"),
        ("[source]", 'password = "x"\n[source]', "a password must not stand in a job file"),
        ('user = "extract"', 'user = "extract"\nusr = "x"', "there is no entry source.usr"),
        ('table = "orders"', "", "source.table is missing"),
        ('key = ["shop_id", "order_id"]', "key = []", "source.key"),
        ("Europe/Madrid", "Europe/Marid", "there is no time zone 'Europe/Marid'"),
        ('latitude = "lat"', "", "a location needs longitude and latitude, or point"),
        ('latitude = "lat"', 'latitude = "lat"\npoint = "p"', "a location needs longitude and latitude, or point"),
        ('shop_id = "shop_id"', 'lon = "x"', "column lon is used twice"),
        ('shop_id = "shop_id"', 'shop_id = "timestamp"', "two columns would become field timestamp"),
        ('shop_id = "shop_id"', 'shop_id = "_id"', "a field can't be named '_id'"),
        ('shop_id = "shop_id"', 'shop_id = "a.b"', "a field can't be named 'a.b'"),
        ("scaled_float", "float", "'float' is none of double, scaled_float, string"),
        ("purged_before = 2020-01-01", 'deletes = "drop"', "'drop' is none of keep, mirror"),
        ('[time]\ncolumn = "ordered"\nzone = "Europe/Madrid"', "", "purged_before needs a [time] column"),
        ("[source]", 'name = "x"\n[source]', "name can't be set"),
        ("[source]", "[source", "is not TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    assert before in JOB
    with pytest.raises(JobError) as caught:
        load_job(written(tmp_path, JOB.replace(before, after, 1)))
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Orders.toml", "a b.toml", "_a.toml", "a.b.toml", "é.toml", "orders.txt", "a" * 201 + ".toml"]
)
def test_a_job_has_a_name_that_an_index_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="can't be named"):
        load_job(written(tmp_path, JOB, name))


def test_a_job_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="extract init"):
        load_job(tmp_path / "none.toml")


def test_the_password_comes_from_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_job(written(tmp_path, JOB)).source
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    with pytest.raises(JobError, match="SHOP_PASSWORD is not set"):
        password_of(source, Settings())
    monkeypatch.setenv("SHOP_PASSWORD", "secret")
    assert password_of(source, Settings()) == "secret"


def test_the_stores_own_password_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARE_MARIADB__PASSWORD", raising=False)
    settings = Settings.model_validate({"mariadb": {"password": "theirs", "user": "extract"}})
    source = load_job(written(tmp_path, JOB)).source
    for host, known in (("localhost", True), ("db.example", False)):
        chosen = source.model_copy(update={"host": host, "password_env": None})
        if known:
            assert password_of(chosen, settings) == "theirs"
        else:
            with pytest.raises(JobError, match=r"source\.password_env"):
                password_of(chosen, settings)


def test_readings_are_the_stores_own_table_alone(tmp_path: Path) -> None:
    settings = Settings()
    store = settings.mariadb
    source = load_job(written(tmp_path, JOB)).source
    own = source.model_copy(update={"host": "localhost", "port": store.port, "database": store.database})
    assert moves_readings(own, "readings", settings)
    assert not moves_readings(own, "orders", settings)
    for change in ({"host": "db.example"}, {"port": store.port + 1}, {"database": "other"}):
        assert not moves_readings(own.model_copy(update=change), "readings", settings)


def test_grants_name_the_user_and_the_table(tmp_path: Path) -> None:
    job = load_job(written(tmp_path, JOB.replace('"shop"', '"sh`op"').replace('"extract"', '''"ex'tract"''')))
    script = grants(job.source, job.source.table, "10.0.0.%")
    assert "GRANT SELECT ON `sh``op`.`orders` TO 'ex''tract'@'10.0.0.%';" in script
    assert "SHOP_PASSWORD" in script
    rights = [line for line in script.splitlines() if line.startswith("GRANT")]
    assert not any(word in line for line in rights for word in ("ALL", "INSERT", "UPDATE", "DELETE", "SUPER"))
