"""The secret that opens the metadata index, from AWS Secrets Manager."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from sqlalchemy.engine import URL

from dicomweb.errors import UpstreamBusy
from runtime.hosts import is_host

_DRIVERS = {  # `engine` of a database secret: driver and usual port
    "mysql": ("mysql+pymysql", 3306),
    "mariadb": ("mysql+pymysql", 3306),
    "aurora-mysql": ("mysql+pymysql", 3306),
    "postgres": ("postgresql+psycopg", 5432),
    "postgresql": ("postgresql+psycopg", 5432),
    "aurora-postgresql": ("postgresql+psycopg", 5432),
}
_USUAL_DATABASE = "ahiindex"
"""The database that the index project makes; a secret made in the console of AWS names none."""
_PASSING = {"ThrottlingException", "TooManyRequestsException", "InternalServiceError"}


class SecretError(ValueError):
    """The secret cannot be read, or is not one of a database. The message never holds any of it."""


def index_url(
    secret_arn: str, *, region: str | None = None, usual_host: str | None = None, needs_password: bool = True
) -> URL:
    """The URL of the metadata index from the members of a secret: `host, port, username, password, dbname`.

    `port` may be text; `engine`, where present, says which database it is, MySQL where not; other members are ignored.
    `usual_host` is for secrets without a host, as RDS manages them. SecretError, or UpstreamBusy when Secrets Manager
    does not answer for now.
    """
    return url_of(_secret_string(secret_arn, region), usual_host=usual_host, needs_password=needs_password)


def url_of(text: str, *, usual_host: str | None = None, needs_password: bool = True) -> URL:
    """As `index_url`, of the text of a secret. Blanks around all members but the password are left out."""
    members = _members(text)
    said = {name: value for name, value in members.items() if value is not None and str(value).strip()}
    secret = {"host": usual_host, "dbname": _USUAL_DATABASE, **said}
    needed = ("host", "username", *(["password"] if needs_password else []), "dbname")
    if missing := [name for name in needed if secret.get(name) is None]:
        advice = "; DB_HOST names the host of a secret that RDS manages" if "host" in missing else ""
        raise SecretError(f"the database secret has no {', '.join(missing)}{advice}")
    host, username, database = (_text(name, secret[name]) for name in ("host", "username", "dbname"))
    if not is_host(host):
        raise SecretError("host of the database secret is not the name of a host")
    engine = _text("engine", secret.get("engine", "mysql")).lower()
    if engine not in _DRIVERS:
        raise SecretError(f"engine of the database secret is not one of {', '.join(_DRIVERS)}")
    driver, usual_port = _DRIVERS[engine]
    return URL.create(
        driver,
        username=username,
        password=_password(secret["password"]) if needs_password else None,
        host=host,
        port=_port(secret.get("port"), usual_port),
        database=database,
    )


def _text(name: str, value: Any) -> str:
    """A member that is one line of text, without the blanks around it; SecretError for anything else."""
    if not isinstance(value, str):
        raise SecretError(f"{name} of the database secret is not text: write it in quotes")
    if not value.strip().isprintable():
        raise SecretError(f"{name} of the database secret has a character that cannot be printed")
    return value.strip()


def _password(value: Any) -> str:
    """A password, which may have any character of Unicode; SecretError for anything else."""
    if not isinstance(value, str):
        raise SecretError("password of the database secret is not text: write it in quotes")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise SecretError("password of the database secret is not Unicode")
    return value


def _secret_string(secret_arn: str, region: str | None) -> str:
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        client = boto3.session.Session(region_name=region).client("secretsmanager", config=config)
        secret = client.get_secret_value(SecretId=secret_arn)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _PASSING or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise UpstreamBusy("AWS Secrets Manager does not answer at the moment") from error
        raise SecretError(f"the database secret cannot be read: {code}") from error
    except (ConnectionError, HTTPClientError) as error:
        raise UpstreamBusy("AWS Secrets Manager does not answer at the moment") from error
    except (BotoCoreError, ValueError) as error:  # no region, no credentials, an ill-formed endpoint or ARN
        raise SecretError(f"the database secret cannot be read: {type(error).__name__}") from error
    if "SecretString" not in secret:
        raise SecretError("the database secret is binary, not text")
    return secret["SecretString"]


def _members(text: str) -> Mapping[str, Any]:
    try:
        secret = json.loads(text)
    except (ValueError, RecursionError):
        secret = None  # what json says of a text quotes it
    if not isinstance(secret, dict):
        raise SecretError("the database secret is not a JSON object")
    return secret


def _port(value: Any, usual: int) -> int:
    if value in (None, ""):
        return usual
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise SecretError("port of the database secret is not a port number")
    return int(text)
