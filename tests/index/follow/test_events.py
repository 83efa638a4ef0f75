"""Messages of the queue: what AHI documents, what it really sends, and what anybody else may put there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.follow.events import DatastoreHint, ImageSetHint, NotForUs, parse_event
from tests.index.follow.events import DATASTORE, IMAGE_SET, image_set_event, job_event


@pytest.mark.parametrize("kind", ["Created", "Copied", "Updated"])
@pytest.mark.parametrize("spelling", ["imageSetId", "imagesetId"])
def test_a_change_names_its_image_set_in_both_spellings(kind: str, spelling: str) -> None:
    event = image_set_event(kind)
    event["detail"][spelling] = event["detail"].pop("imageSetId")
    assert parse_event(json.dumps(event)) == ImageSetHint(DATASTORE, IMAGE_SET)


def test_an_event_of_2024_says_neither_version_nor_primary() -> None:
    event = image_set_event("Created")
    del event["detail"]["imageSetVersion"], event["detail"]["isPrimary"]
    assert parse_event(json.dumps(event)) == ImageSetHint(DATASTORE, IMAGE_SET)


def test_a_deletion_says_so() -> None:
    assert parse_event(json.dumps(image_set_event("Deleted"))) == ImageSetHint(DATASTORE, IMAGE_SET, deleted=True)


@pytest.mark.parametrize("kind", ["Completed", "Failed"])
def test_a_job_that_ended_names_its_data_store(kind: str) -> None:
    assert parse_event(json.dumps(job_event(kind))) == DatastoreHint(DATASTORE)


def changed(**values: Any) -> str:
    return json.dumps({**image_set_event("Updated"), **values})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "no JSON"),
        ("hello", "no JSON"),
        ("{", "no JSON"),
        ("[" * 60_000, "no JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ("{}", "an event of another source"),
        (changed(source="aws.s3"), "an event of another source"),
        (changed(source=["aws.medical-imaging"]), "an event of another source"),
        (changed(detail="x"), "an event without detail"),
        (changed(**{"detail-type": 7}), "an event without detail"),
        (changed(**{"detail-type": "Image Set Updating"}), "an event of another kind"),
        (changed(**{"detail-type": "Data Store Created"}), "an event of another kind"),
        (changed(**{"detail-type": "Image Set Invented"}), "an event of another kind"),
        (changed(detail={}), "an event that names no image set"),
        (changed(detail={"datastoreId": DATASTORE, "imageSetId": "../secret"}), "an event that names no image set"),
        (changed(detail={"datastoreId": DATASTORE, "imageSetId": "A" * 32}), "an event that names no image set"),
        (changed(detail={"datastoreId": 1, "imageSetId": IMAGE_SET}), "an event that names no image set"),
        (changed(**{"detail-type": "Import Job Completed", "detail": {}}), "an event that names no data store"),
        (changed(padding="x" * 2**17), "too long for an event"),
    ],
)
def test_everything_else_is_not_for_us(body: str, reason: str) -> None:
    assert parse_event(body) == NotForUs(reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_no_text_fails(body: str) -> None:
    assert isinstance(parse_event(body), NotForUs)


@given(st.dictionaries(st.sampled_from(["source", "detail-type", "detail", "resources"]), JSON))
def test_no_member_fails(members: dict[str, Any]) -> None:
    parse_event(json.dumps({**image_set_event("Updated"), **members}))
