"""Tracing with OpenTelemetry, as its environment variables describe it.

The SDK of OpenTelemetry reads these variables, and is imported only if they ask for traces.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import Flask

from app.services import Services
from app.setting_parsers import parse_url
from app.settings import SettingsError
from db.engine import Database
from runtime.outage import Outage

if TYPE_CHECKING:
    from app.telemetry.spans import Spans

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_USUAL_ENDPOINT = "http://localhost:4318"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_RATIOS = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_RATIOS)

_NUMBERS = (
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"),
    *("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
)


@dataclass(frozen=True)
class Tracing:
    """Tracing is on. Made before the fork, so that all processes together log an outage of the collector once."""

    endpoint: str
    """The URL of the collector."""

    outage: Outage = field(default_factory=lambda: Outage("OpenTelemetry collector"))

    def open(self, database: Database) -> "Spans":
        """Start the traces of one process, with the statements of its index; must be called after the fork."""
        from app.telemetry.spans import Spans  # takes 0.3 s, and memory

        return Spans(self.outage, database)

    def is_taken(self) -> bool:
        """Whether the collector accepts traces now."""
        from app.telemetry.spans import is_taken

        return is_taken()


def install_tracing(app: Flask, services: Services) -> None:
    """Trace each request, if traces are asked for."""
    if services.monitoring.spans:
        services.monitoring.spans.add_to(app)


def find_tracing(environ: Mapping[str, str]) -> Tracing | None:
    """Read the variables; None if they ask for no traces, SettingsError for values that are not supported."""
    variables = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    exporter = variables.get(
        "OTEL_TRACES_EXPORTER", "otlp" if any(name in variables for name in _ENDPOINTS) else "none"
    )
    if exporter == "none":
        return None
    if exporter != "otlp":
        raise SettingsError("OTEL_TRACES_EXPORTER is neither otlp nor none")
    problems = [*_endpoints(variables), *_protocol(variables), *_sampler(variables), *_numbers(variables)]
    if problems:
        raise SettingsError("\n".join(problems))
    return Tracing(next((variables[name] for name in _ENDPOINTS if name in variables), _USUAL_ENDPOINT))


def _endpoints(variables: Mapping[str, str]) -> list[str]:
    wrong = [name for name in _ENDPOINTS if name in variables and not _is_url(variables[name])]
    return [f"{name} is not a URL like http://127.0.0.1:4318" for name in wrong]


def _protocol(variables: Mapping[str, str]) -> list[str]:
    name = next((name for name in _PROTOCOLS if name in variables), None)
    return (
        [f"{name} is not {_PROTOCOL}, which collectors accept on port 4318"]
        if name and variables[name] != _PROTOCOL
        else []
    )


def _sampler(variables: Mapping[str, str]) -> list[str]:
    sampler = variables.get("OTEL_TRACES_SAMPLER", "always_on").lower()
    if sampler not in _SAMPLERS:
        return [f"OTEL_TRACES_SAMPLER is none of {', '.join(_SAMPLERS)}"]
    if sampler in _RATIOS and not _is_ratio(variables.get("OTEL_TRACES_SAMPLER_ARG", "1")):
        return ["OTEL_TRACES_SAMPLER_ARG is not a number between 0 and 1"]
    return []


def _numbers(variables: Mapping[str, str]) -> list[str]:
    wrong = [name for name in _NUMBERS if name in variables and not variables[name].isdecimal()]
    return [f"{name} is not a whole number" for name in wrong]


def _is_url(text: str) -> bool:
    try:
        return bool(parse_url(text))
    except ValueError:
        return False


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
