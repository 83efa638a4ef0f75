"""No file sets a variable that nothing reads."""

from dataclasses import fields

import pytest

from app.settings import Settings, variable
from tests.deploy.files import variables

OF_THE_INTERPRETER = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
OF_OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT"}  # doc/settings.md has them, Settings does not


@pytest.mark.parametrize("file", variables())
def test_every_variable_is_a_setting(file: str) -> None:
    known = {variable(setting) for setting in fields(Settings)} | OF_THE_INTERPRETER | OF_OPENTELEMETRY
    assert variables()[file]
    assert variables()[file] <= known
