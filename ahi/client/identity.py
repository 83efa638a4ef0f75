"""The identity of the service at AWS, and the addresses of AWS. Runs in `check` at the command line."""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from dicomweb.errors import UpstreamBusy, UpstreamFailed


def caller_arn(region: str) -> str:
    """Return the ARN of the role or user whose credentials the service uses. This needs no right.

    UpstreamFailed without valid credentials, UpstreamBusy where AWS STS does not answer.
    """
    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        client = boto3.session.Session(region_name=region).client("sts", config=config)
        arn: str = client.get_caller_identity()["Arn"]
    except ClientError as error:
        raise UpstreamFailed(f"AWS refuses the credentials: {error.response['Error']['Code']}") from error
    except (ConnectionError, HTTPClientError) as error:
        raise UpstreamBusy("AWS STS does not answer") from error
    except BotoCoreError as error:
        raise UpstreamFailed(f"there are no credentials that can be used: {type(error).__name__}") from error
    return arn


def endpoint_url(service: str, region: str | None) -> str:
    """The URL at which boto3 calls a service, by region, configuration and environment. Nothing is called."""
    client = boto3.session.Session(region_name=region).client(service)  # type: ignore[call-overload]
    return str(client.meta.endpoint_url)
