from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run


def test_settings_come_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PORT", "8123")
    shown = run("settings")
    assert shown.exit_code == 0
    (line,) = [line for line in shown.stdout.splitlines() if "TUNESMITH_PORT" in line]
    assert "8123" in line


def test_a_switch_wins_over_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", "/elsewhere")
    assert "/elsewhere" not in run("settings").stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNESMITH_PORT", "many"),
        ("TUNESMITH_PORT", "70000"),
        ("TUNESMITH_MAX_HOSTS", "0"),
        ("TUNESMITH_LOG_LEVEL", "loud"),
        ("TUNESMITH_DEVICE_PRICES", '{"cpu": -1}'),
        ("TUNESMITH_DEVICE_PRICES", '{"cpu": NaN}'),
        ("TUNESMITH_DEVICE_PRICES", '{"cpu": Infinity}'),
        ("TUNESMITH_DEVICE_PRICES", "{"),
        ("TUNESMITH_DEVICE_PRICES", "[]"),
    ],
)
def test_a_wrong_setting_ends_the_program_with_its_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    shown = run("settings")
    assert shown.exit_code == 2
    assert name in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNESMITH_ADMIN_KEY", "swordfish"),
        ("TUNESMITH_API_KEY", "swordfish"),
        ("TUNESMITH_DATABASE_URL", "postgresql+psycopg://tunesmith:swordfish@db/tunesmith"),
    ],
)
def test_secrets_are_masked(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    shown = run("settings").stdout
    assert name in shown
    assert "swordfish" not in shown
