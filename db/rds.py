"""Amazon RDS and Aurora: their hosts, the certificates that they show, and the tokens of IAM authentication."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from boto3.session import Session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from sqlalchemy.engine import URL

from dicomweb.errors import UpstreamBusy

log = logging.getLogger(__name__)

BUNDLE = Path(__file__).with_name("certificates") / "rds-global-bundle.pem"
"""The authorities of RDS; the README beside it says where they come from."""

_DOMAIN = ".rds.amazonaws.com"
_PROXY = ".proxy-"
_TOKEN_SECONDS = 900
"""RDS takes no token that is older."""


def is_signed_by_rds(host: str) -> bool:
    """Whether a host of this name shows a certificate of an authority of RDS.

    Those of RDS Proxy are signed by an authority that every system trusts.
    """
    name = host.lower().rstrip(".")
    return name.endswith(_DOMAIN) and _PROXY not in name


def token_maker(region: str | None) -> Callable[[URL], str]:
    """A function that makes the password of one connection by IAM: a token for the user, host and port of a URL.

    It is a presigned request, so nobody is asked but the source of the credentials, which boto3 renews. The function
    raises UpstreamBusy where there are none. Safe to share between threads and processes.
    """
    return partial(_token, Session(region_name=region))


def _token(session: Session, url: URL) -> str:
    address = f"{url.host}:{url.port or _usual_port(url)}"
    parameters = {"Action": "connect", "DBUser": url.username or ""}
    request = AWSRequest("GET", f"https://{address}/", params=parameters)
    SigV4QueryAuth(_credentials(session), "rds-db", session.region_name or "", _TOKEN_SECONDS).add_auth(request)
    return str(request.url).removeprefix("https://")


def _credentials(session: Session) -> ReadOnlyCredentials:
    try:
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except Exception as error:  # boto3 passes on whatever the source of the credentials raises
        log.warning("no credentials of AWS for the index error=%s", type(error).__name__)
        raise UpstreamBusy(_NO_CREDENTIALS) from error
    if frozen is None:
        raise UpstreamBusy(_NO_CREDENTIALS)
    return frozen


_NO_CREDENTIALS = "there are no credentials of AWS now for the login at the metadata index"


def _usual_port(url: URL) -> int:
    return 5432 if url.drivername.startswith("postgres") else 3306
