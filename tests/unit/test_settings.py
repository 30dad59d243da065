"""Settings: known, frozen, told to other processes, and documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from maredata.errors import SettingsError
from maredata.settings import CHECKOUT, NO_SETTINGS, Settings, as_environment, load_settings, variables


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


def test_environment_wins_over_the_file_and_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("MARE_KAFKA__PORT=1234\nMARE_UDP__PORT=5\n")
    monkeypatch.setenv("MARE_KAFKA__PORT", "4321")
    settings = load_settings(env_file)
    assert (settings.kafka.port, settings.udp.port, settings.connect.port) == (4321, 5, 8083)


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_typing_mistake_is_an_error_that_names_the_right_setting(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("MARE_KAFKA__PROT=1\n" if source == "file" else "")
    if source == "environment":
        monkeypatch.setenv("MARE_KAFKA__PROT", "1")
    with pytest.raises(SettingsError, match=r"no setting MARE_KAFKA__PROT\. Did you mean MARE_KAFKA__PORT"):
        load_settings(env_file)


def test_an_unusable_value_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARE_UDP__PORT", "many")
    with pytest.raises(SettingsError, match="MARE_UDP__PORT can't be used: Input should be a valid integer"):
        load_settings(tmp_path / "none")


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "none")
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.port = 1


def test_another_process_sees_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"home": tmp_path, "demo": False, "kafka": {"port": 7}})
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings(tmp_path / "none") == settings


def test_a_relative_home_means_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARE_HOME", "here")
    assert load_settings(tmp_path / "none").home == tmp_path / "here"


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    settings = Settings.model_validate({"mariadb": {"password": "s3cret"}, "elasticsearch": {"password": "s3cret"}})
    assert "s3cret" not in repr(settings)


def test_env_example_lists_every_setting_and_no_other() -> None:
    listed = re.findall(r"^#?(MARE_\w+)=", (CHECKOUT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted([*variables(), *NO_SETTINGS])


def test_every_setting_is_described() -> None:
    assert [name for name, description in variables().items() if not description] == []
