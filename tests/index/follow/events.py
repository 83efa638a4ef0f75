"""Events as AHI sends them to EventBridge (developer guide, EventBridge)."""

import json
from typing import Any

DATASTORE = "d" * 32
IMAGE_SET = "0" * 31 + "1"


def image_set_event(
    kind: str, image_set_id: str = IMAGE_SET, datastore_id: str = DATASTORE, version: int = 1
) -> dict[str, Any]:
    """An event of an image set: `kind` is the last word of its detail-type."""
    arn = f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{datastore_id}/imageset/{image_set_id}"
    detail = {
        "imagingVersion": "1.0",
        "isPrimary": True,
        "imageSetVersion": str(version),
        "datastoreId": datastore_id,
        "imageSetId": image_set_id,
        "imageSetState": "ACTIVE",
        "imageSetWorkflowStatus": kind.upper(),
    }
    return _event(f"Image Set {kind}", arn, detail)


def job_event(kind: str, datastore_id: str = DATASTORE) -> dict[str, Any]:
    """An event of an import job."""
    arn = f"arn:aws:medical-imaging:us-east-1:111122223333:datastore/{datastore_id}"
    detail = {
        "imagingVersion": "1.0",
        "datastoreId": datastore_id,
        "jobId": "j" * 32,
        "jobName": "night",
        "jobStatus": kind.upper(),
        "inputS3Uri": "s3://in/",
        "outputS3Uri": "s3://out/",
    }
    return _event(f"Import Job {kind}", arn, detail)


def _event(kind: str, arn: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "5c9c1c1e-0000-4000-8000-000000000000",
        "detail-type": kind,
        "source": "aws.medical-imaging",
        "account": "111122223333",
        "time": "2026-01-02T03:04:05Z",
        "region": "us-east-1",
        "resources": [arn],
        "detail": detail,
    }


def text(event: dict[str, Any]) -> str:
    """The body of the message in which an event comes."""
    return json.dumps(event)
