"""The contract with botocore: parts beyond its documents that ahi/client relies on. An upgrade fails here first.

For each failure, read what the part is needed for, and what has become of it.
"""

import inspect
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import awsrequest, httpsession, parsers, signers, utils
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from ahi.client.frame_calls import OPERATION

FUNCTIONS: dict[Callable[..., Any], tuple[list[str], str]] = {  # function: its first parameters, what it is needed for
    parsers.create_parser: (["protocol"], "reads the errors of AHI in frame_calls"),
    awsrequest.AWSRequest.__init__: (["self", "method", "url", "headers", "data"], "the request that is signed"),
    signers.RequestSigner.get_auth_instance: (
        ["self", "signing_name", "region_name", "signature_version"],
        "signs with the credentials of the moment",
    ),
    httpsession.get_cert_path: (["verify"], "the authorities that are trusted"),
    utils.get_environ_proxies: (["url"], "behind a proxy boto3 makes all calls"),
    utils.is_valid_endpoint_url: (["endpoint_url"], "settings are checked at the start"),
    utils.validate_region_name: (["region_name"], "settings are checked at the start"),
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    config = Config(inject_host_prefix=False, retries={"total_max_attempts": 1})
    return session.create_client("medical-imaging", "us-east-1", endpoint_url="http://127.0.0.1:9", config=config)


@pytest.mark.parametrize("package", ["boto3", "botocore"])
def test_the_installed_version_is_the_pinned_one(package: str) -> None:
    requirements = (Path(__file__).parents[3] / "requirements.txt").read_text()
    pinned = re.search(rf"^{package}==(\S+)", requirements, re.MULTILINE)
    assert pinned and version(package) == pinned[1]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__qualname__))
def test_signatures(function: Callable[..., Any]) -> None:
    parameters, reason = FUNCTIONS[function]
    assert [*inspect.signature(function).parameters][: len(parameters)] == parameters, reason


def test_an_error_of_the_service_is_read_and_has_a_class(client: Any) -> None:
    """`FrameCalls.frame` raises what boto3 would raise."""
    parser = parsers.create_parser(client.meta.service_model.metadata["protocol"])
    shape = client.meta.service_model.operation_model(OPERATION).output_shape
    headers = {"x-amzn-errortype": "ThrottlingException"}
    answer = {"status_code": 429, "headers": headers, "body": b'{"message":"slow down"}'}
    found = parser.parse(answer, shape)
    assert found["Error"] == {"Code": "ThrottlingException", "Message": "slow down"}
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 429
    error = client.exceptions.from_code("ThrottlingException")(found, OPERATION)
    assert isinstance(error, ClientError) and isinstance(error, client.exceptions.ThrottlingException)


def test_a_call_shows_how_it_is_signed(client: Any) -> None:
    """`FrameCalls` learns from the first call of boto3, before it is signed."""
    seen: list[dict[str, Any]] = []

    def before_sign(request: Any, request_signer: Any, **signing: Any) -> None:
        own = awsrequest.AWSRequest("POST", request.url, {"x-own": "1"}, b"{}")
        names = signing["signing_name"], signing["region_name"], signing["signature_version"]
        request_signer.get_auth_instance(*names).add_auth(own)
        seen.append({"url": request.url, "headers": dict(request.headers.items()), "signing": names, "own": own})

    client.meta.events.register(f"before-sign.medical-imaging.{OPERATION}", before_sign)
    with pytest.raises(EndpointConnectionError):  # nobody listens there
        client.get_image_frame(
            datastoreId="d" * 32, imageSetId="1" * 32, imageFrameInformation={"imageFrameId": "f" * 32}
        )
    call = seen[0]
    assert call["url"] == f"http://127.0.0.1:9/datastore/{'d' * 32}/imageSet/{'1' * 32}/getImageFrame"
    assert "User-Agent" in call["headers"]
    assert call["signing"] == ("medical-imaging", "us-east-1", "v4")
    assert call["own"].headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert call["own"].headers["x-own"] == "1"


def test_settings_of_the_client_that_are_read(client: Any) -> None:
    assert not client.meta.config.proxies
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert botocore.session.get_session().get_config_variable("ca_bundle") is None
    assert Path(str(httpsession.get_cert_path(True))).exists()
