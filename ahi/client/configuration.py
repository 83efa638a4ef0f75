"""Checks of the AWS configuration that boto3 reads: the region, variables and files. Runs before the fork."""

import os

import botocore.session
from botocore.exceptions import BotoCoreError
from botocore.utils import is_valid_endpoint_url, validate_region_name

_ENDPOINTS = ("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "AWS_ENDPOINT_URL")


def configuration_error(region: str) -> str | None:
    """Return why no client can be made; None where one can. AWS is not asked."""
    try:
        validate_region_name(region)
    except BotoCoreError:
        return "AWS_DEFAULT_REGION is not the name of a region"
    for name in _ENDPOINTS:
        if (url := os.environ.get(name, "")) and not is_valid_endpoint_url(url):
            return f"{name} is not a URL"
    try:
        botocore.session.get_session().get_scoped_config()
    except BotoCoreError as error:  # no such profile, a file that cannot be parsed
        return f"AWS_PROFILE or AWS_CONFIG_FILE cannot be used: {type(error).__name__}"
    return None
