"""The tree of attributes: nested, named, bounded."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.console.attribute_tree import LONGEST_VALUE, MOST_NODES, MOST_VALUES, Node, Tree, tree_of

NESTED: dict[str, Any] = {
    "00080020": {"vr": "DA", "Value": ["20240131"]},
    "00081140": {
        "vr": "SQ",
        "Value": [
            {"00081155": {"vr": "UI", "Value": ["1.2.3"]}},
            {"00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}},
        ],
    },
    "00090010": {"vr": "LO", "Value": ["GEMS_IDEN_01"]},
    "00091001": {"vr": "LO", "Value": ["full fidelity"]},
    "000910FE": {"vr": "UN", "InlineBinary": base64.b64encode(bytes(range(32))).decode()},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞"}]},
    "00111003": {"vr": "LO", "Value": ["nobody's"]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "/aetitle/studies/1/bulkdata/7FE00010"},
}


def by_tag(tree: Tree) -> dict[str, Node]:
    return {node.tag: node for node in tree.nodes}


def test_attributes_have_their_names_values_and_readings() -> None:
    nodes = by_tag(tree_of(NESTED))
    day, name = nodes["00080020"], nodes["00100010"]
    assert (day.label, day.name, day.keyword, day.value) == ("(0008,0020)", "Study Date", "StudyDate", "20240131")
    assert day.reading == "2024-01-31"
    assert (name.value, name.reading) == ("Hong^Gildong=洪^吉洞", "Hong, Gildong (洪 吉洞)")


def test_sequences_have_items_with_attributes() -> None:
    first, second = by_tag(tree_of(NESTED))["00081140"].children
    assert (first.number, first.children[0].value) == (1, "1.2.3")
    assert second.children[0].reading == "CT Image Storage"


def test_private_attributes_are_marked_and_have_their_creator() -> None:
    nodes = by_tag(tree_of(NESTED))
    known, binary, stray = nodes["00091001"], nodes["000910FE"], nodes["00111003"]
    assert (known.private, known.creator, known.name) == (True, "GEMS_IDEN_01", "Full fidelity")
    assert (binary.value, binary.reading) == ("32 bytes", "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f …")
    assert nodes["00090010"].name == "Private Creator"
    assert (stray.private, stray.creator, stray.name) == (True, "", "")


def test_bulk_data_are_a_link_with_a_size() -> None:
    node = by_tag(tree_of(NESTED, {"/aetitle/studies/1/bulkdata/7FE00010": 524_288}.get))["7FE00010"]
    assert (node.link, node.value) == ("/aetitle/studies/1/bulkdata/7FE00010", "524.3 kB")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gildong", {"00100010"}),
        ("0010,0010", {"00100010"}),
        ("(0010,0010)", {"00100010"}),
        ("StudyDate", {"00080020"}),
        ("2024-01", {"00080020"}),
        ("ct image", {"00081140"}),
        ("gems", {"00090010", "00091001", "000910FE"}),
        ("zebra", set()),
        ("  ", set(NESTED)),
    ],
)
def test_a_search_keeps_what_fits_and_the_way_to_it(text: str, found: set[str]) -> None:
    assert set(by_tag(tree_of(NESTED).matching(text))) == found


def test_a_search_leaves_out_items_that_do_not_fit() -> None:
    (sequence,) = tree_of(NESTED).matching("ct image").nodes
    assert [item.number for item in sequence.children] == [2]
    assert tree_of(NESTED).matching("ct image").size == 2


def test_values_are_bounded() -> None:
    nodes = by_tag(
        tree_of(
            {
                "00081080": {"vr": "LO", "Value": ["x" * 10_000]},
                "00280106": {"vr": "US", "Value": list(range(1000))},
            }
        )
    )
    assert (len(nodes["00081080"].value), nodes["00081080"].omitted) == (LONGEST_VALUE, 10_000 - LONGEST_VALUE)
    assert (nodes["00280106"].value.count("\\"), nodes["00280106"].omitted) == (MOST_VALUES - 1, 1000 - MOST_VALUES)


def test_attributes_are_bounded() -> None:
    tree = tree_of({f"{number:08X}": {"vr": "LO"} for number in range(0x00100000, 0x00100000 + 2 * MOST_NODES)})
    assert (tree.size, tree.left_out) == (MOST_NODES, True)
    assert not tree_of(NESTED).left_out


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {"00080060": {"vr": "CS", "Value": ["CT"]}}
    for _ in range(500):
        deep = {"0040A730": {"vr": "SQ", "Value": [deep]}}
    tree = tree_of(deep)
    assert tree.left_out and tree.size < 100


_ELEMENTS = st.deferred(
    lambda: st.one_of(
        st.builds(lambda value: {"vr": "LO", "Value": [value]}, st.none() | st.text(max_size=9)),
        st.builds(lambda value: {"vr": "PN", "Value": [value]}, st.dictionaries(st.just("Alphabetic"), st.text())),
        st.builds(lambda value: {"vr": "DS", "Value": value}, st.lists(st.floats(allow_nan=False) | st.integers())),
        st.builds(lambda vr: {"vr": vr}, st.sampled_from(["SQ", "DA", "UN", "UI", "DT", "TM"])),
        st.builds(lambda vr, text: {"vr": vr, "Value": [text]}, st.sampled_from(["DA", "TM", "DT", "UI"]), st.text()),
        st.builds(lambda items: {"vr": "SQ", "Value": items}, st.lists(_DATA_SETS | st.none(), max_size=3)),
    )
)
_DATA_SETS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.integers(0, 2**32 - 1).map("{:08X}".format), _ELEMENTS, max_size=4
)


@settings(max_examples=100)
@given(_DATA_SETS, st.text(max_size=5))
def test_every_data_set_has_a_tree(data_set: dict[str, Any], text: str) -> None:
    tree = tree_of(data_set)
    assert [node.tag for node in tree.nodes] == list(data_set)
    assert tree.matching(text).size <= tree.size <= json.dumps(data_set).count('"vr"')
