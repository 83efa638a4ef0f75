"""Any text as the value of any setting is a value, or one line that names the setting."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings import Settings, SettingsError, variable

NAMES = [variable(setting) for setting in fields(Settings)]
_PIECES = ["0", "1", "-", ".", ",", "_", "e", "true", "https://", "tls://", "[", "]", "{", "}", '"', ":", "/", "@", "*"]
_ODD = [
    "\n",
    "\r",
    "\t",
    "\x00",
    "\x1b[31m",
    "\u2028",
    "\x85",
    "\udcff",
    "\u0661",
    "\uff11",
    "é",
    "\U0001f5a5",
    " ",
    "%",
    "{0}",
    "\\",
]
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*_PIECES, *_ODD]), max_size=12).map("".join),
    st.sampled_from(["x" * 9999, "9" * 5000]),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["filter", "CT", "a" * 32]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["research", "filter", "datastores", "store", "Modality", "x\ny", "x" * 999, "rule"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def problems(environ: Mapping[str, str]) -> list[str]:
    """The lines that the settings are refused with; none for right ones."""
    try:
        Settings.from_env({"AWS_DEFAULT_REGION": "us-east-1", **environ})
    except SettingsError as error:
        return str(error).split("\n")
    return []


@pytest.mark.parametrize("name", NAMES)
@given(text=texts)
@settings(max_examples=40)
def test_a_text_is_a_value_or_one_line(name: str, text: str) -> None:
    found = problems({name: text})
    assert len(found) <= 1
    assert [line for line in found if not is_readable(line, name)] == []


def is_readable(line: str, name: str) -> bool:
    """Whether a line is one that an operator can read, about this setting."""
    return name in line and len(line) < 300 and line.isprintable()


@pytest.mark.parametrize("name", ["AE_TITLES"])
@given(value=json_values)
def test_any_json_is_a_value_or_one_line(name: str, value: Any) -> None:
    assert [line for line in problems({name: json.dumps(value)}) if not is_readable(line, name)] == []


def test_an_object_with_a_name_twice_is_one_line() -> None:
    name = "x\n" * 999
    (line,) = problems({"AE_TITLES": f"{{{json.dumps(name)}: {{}}, {json.dumps(name)}: {{}}}}"})
    assert is_readable(line, "AE_TITLES")


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n", " \r\n\t "])
def test_blank_variables_are_not_set(blank: str) -> None:
    assert Settings.from_env(dict.fromkeys(NAMES, blank)) == Settings.from_env({})


@pytest.mark.parametrize("name", [variable(one) for one in fields(Settings) if "int" in str(one.type)])
@pytest.mark.parametrize("text", ["1_0", "\u0661\u0662", "\uff11\uff12", "12.0", "1e1", "12 13"])
def test_whole_numbers_are_digits_of_ascii(name: str, text: str) -> None:
    (line,) = problems({name: text})
    assert line == f"{name} is not a whole number"


def test_all_problems_are_told_at_once() -> None:
    found = problems(dict.fromkeys(NAMES, "\x1b"))
    assert sorted(line.partition(" ")[0] for line in found) == ["SETTINGS_FILE"]
    names = [name for name in NAMES if name != "SETTINGS_FILE"]
    found = problems(dict.fromkeys(names, "\x1b"))
    assert sorted(line.partition(" ")[0] for line in found) == sorted(names)


INDEX = {"DATABASE_URL": "sqlite://", "STORE_DATASTORE_ID": "a" * 32}


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        (
            {"CACHE_ROOT": "/srv/dicom", "SPOOL_ROOT": "/srv/dicom/spool", "STORE": "true", "HOST": "127.0.0.1"},
            "SPOOL_ROOT",
        ),
        ({"CACHE_ROOT": "/srv/dicom", "SPOOL_ROOT": "/srv/x/../dicom", "STORE": "true", "HOST": "::1"}, "SPOOL_ROOT"),
        ({"CACHE_ROOT": "/srv", "AUDIT": "file", "AUDIT_FILE": "/srv/audit/trail.xml"}, "AUDIT_FILE"),
        ({"CACHE_ROOT": "/etc", "DB_TLS_CA": "/etc/ssl/ca.pem", "VIEWER_ROOT": "/etc/ohif"}, "DB_TLS_CA VIEWER_ROOT"),
        ({"CACHE_ROOT": "/srv/dicom/cache", "SPOOL_ROOT": "/srv/dicom/spool", "STORE": "true", "HOST": "::1"}, ""),
        ({"CACHE_ROOT": "/srv/dicom", "SPOOL_ROOT": "/srv/dicom/spool"}, ""),
        ({"CACHE_ROOT": "/srv/dicom", "DB_TLS_CA": "/srv/dicom-ca.pem"}, ""),
    ],
)
def test_nothing_that_lasts_is_kept_in_the_cache(environ: dict[str, str], names: str) -> None:
    found = problems({**INDEX, **environ})
    assert [line.partition(" is inside CACHE_ROOT")[0] for line in found] == names.split()
