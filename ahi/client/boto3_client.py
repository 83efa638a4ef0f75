"""The boto3 client for AHI. Runs in the FrameFetcher processes, and in `check` at the command line."""

from typing import TYPE_CHECKING, Any

import boto3
import botocore
from botocore.config import Config

from runtime.timing import current_timing

if TYPE_CHECKING:
    from mypy_boto3_medical_imaging import HealthImagingClient

USER_AGENT = f"ahi-dicomweb-proxy Boto3/{boto3.__version__} Botocore/{botocore.__version__}"
_CONNECT_SECONDS = 3


def make_client(region: str, max_connections: int, read_seconds: float) -> "HealthImagingClient":
    """Make a client that does not retry. Each call tells AHI the trace that it is part of.

    `read_seconds` bounds the wait for the next bytes of an answer. boto3 puts `runtime-` before the host of AHI. The
    client does not do so where the operator has set the endpoint, which shows in its URL.
    """
    config = Config(
        max_pool_connections=max_connections,
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": 1},  # ours know the deadline, and that a conflict passes
        parameter_validation=False,  # identifiers are AHI's own; AHI says if one is malformed
        user_agent=USER_AGENT,  # botocore builds its own for each call, which takes a tenth of the call
    )
    session = boto3.session.Session(region_name=region)
    unconfigured: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    standard = session.client("medical-imaging", config=config.merge(Config(**unconfigured)))
    client = session.client("medical-imaging", config=config)
    if client.meta.endpoint_url != standard.meta.endpoint_url:
        client = session.client("medical-imaging", config=config.merge(Config(inject_host_prefix=False)))
    client.meta.events.register("before-sign.medical-imaging", _add_trace_headers)
    return client


def endpoint_url(client: "HealthImagingClient", operation: str) -> str:
    """The URL of the host that answers an operation: AHI has one host for data stores, and one for image sets."""
    endpoint: Any = client.meta.service_model.operation_model(operation).endpoint
    prefix = endpoint["hostPrefix"] if endpoint and client.meta.config.inject_host_prefix else ""
    return client.meta.endpoint_url.replace("://", f"://{prefix}", 1)


def trace_headers() -> dict[str, str]:
    """The header that names the trace of the current request; none without a trace."""
    timing = current_timing()
    return {"traceparent": timing.traceparent} if timing and timing.traceparent else {}


def _add_trace_headers(request: Any, **_: object) -> None:
    for name, value in trace_headers().items():
        request.headers[name] = value
