"""No file sets a variable that nothing reads."""

from dataclasses import fields

import pytest

from app.commands.serve import check_index_is_meant
from app.settings import Settings, SettingsError, variable
from tests.deploy.files import DOCKERFILE, ENVIRONMENT_FILE, UNIT, instructions, variables

OF_THE_INTERPRETER = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
OF_OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT"}  # doc/settings.md has them, Settings does not


@pytest.mark.parametrize("file", variables())
def test_every_variable_is_a_setting(file: str) -> None:
    known = {variable(setting) for setting in fields(Settings)} | OF_THE_INTERPRETER | OF_OPENTELEMETRY
    assert variables()[file]
    assert variables()[file] <= known


def given(file: str) -> dict[str, str]:
    """The variables that the image or the unit sets, with the values that they come with."""
    if file == DOCKERFILE.name:
        words = " ".join(text for name, text in instructions() if name == "ENV").split()
    else:
        lines = UNIT.read_text().splitlines()
        words = " ".join(line.partition("=")[2] for line in lines if line.startswith("Environment=")).split()
        words += [line for line in ENVIRONMENT_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("file", [DOCKERFILE.name, UNIT.name])
@pytest.mark.parametrize("host", [None, "127.0.0.1", "0.0.0.0"])  # noqa: S104 - nothing listens
def test_image_and_unit_do_not_start_with_sample_data(
    file: str, host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**given(file), **({"HOST": host} if host else {})}
    monkeypatch.setattr("os.environ", environment)
    with pytest.raises(SettingsError, match="neither DB_SECRET_ARN nor DATABASE_URL"):
        check_index_is_meant(Settings.from_env(environment))
    wanted = Settings.from_env({**environment, "EMBEDDED": "true"})
    check_index_is_meant(wanted)
