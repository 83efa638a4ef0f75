"""What we encode as Explicit VR Little Endian, pydicom reads back."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.filereader import read_dataset

from dicomweb.data_set import Attribute, DataSet
from dicomweb.explicit_le import encode_data_set, encode_element


def read_back(data_set: DataSet) -> Dataset:
    return read_dataset(BytesIO(encode_data_set(data_set)), is_implicit_VR=False, is_little_endian=True)


@pytest.mark.parametrize(
    ("attribute", "keyword", "expected"),
    [
        (Attribute("00280010", "US", (512,)), "Rows", 512),
        (Attribute("00281050", "DS", ("40", "-600.50")), "WindowCenter", [40.0, -600.5]),
        (Attribute("00280030", "DS", ()), "PixelSpacing", None),
        (Attribute("00280106", "SS", (-5,)), "SmallestImagePixelValue", -5),
        (Attribute("00189087", "FD", (1000.25,)), "DiffusionBValue", 1000.25),
        (Attribute("00281199", "UI", ("1.2.3",)), "PaletteColorLookupTableUID", "1.2.3"),
        (Attribute("00080008", "CS", ("ORIGINAL", "", "AXIAL")), "ImageType", ["ORIGINAL", "", "AXIAL"]),
        (Attribute("00280009", "AT", ("00181063",)), "FrameIncrementPointer", 0x00181063),
        (Attribute("00420011", "OB", b"%PDF-"), "EncapsulatedDocument", b"%PDF-\0"),
        (Attribute("00204000", "LT", ("a\\b",)), "ImageComments", "a\\b"),
    ],
)
def test_a_value_comes_back(attribute: Attribute, keyword: str, expected: object) -> None:
    assert read_back((attribute,))[keyword].value == expected


@pytest.mark.parametrize("terms", [(), ("ISO_IR 100",), ("ISO_IR 192",), ("", "ISO 2022 IR 87")])
@pytest.mark.parametrize(("tag", "vr"), [("00180015", "CS"), ("00080054", "AE")])
@pytest.mark.parametrize("text", ["SCHÄDEL", "SCH\xc3\x84DEL"])  # also as it is read where it was UTF-8
def test_codes_beyond_ascii_are_written_as_they_were(terms: tuple[str, ...], tag: str, vr: str, text: str) -> None:
    charset = (Attribute("00080005", "CS", terms),) if terms else ()
    data_set = read_back((*charset, Attribute(tag, vr, (text,))))
    assert data_set[tag].value == text
    assert data_set.get("SpecificCharacterSet") == read_back(charset).get("SpecificCharacterSet")


def test_codes_beyond_latin_1_are_in_the_character_set() -> None:
    encoded = encode_data_set((Attribute("00180015", "CS", ("頭",)),))
    assert b"ISO_IR 192" in encoded
    assert "頭".encode() in encoded


def test_items_come_back_in_their_order() -> None:
    items = tuple((Attribute("00080100", "SH", (code,)),) for code in ("A", "BC", "D"))
    data_set = read_back((Attribute("00081032", "SQ", items),))
    assert [item.CodeValue for item in data_set.ProcedureCodeSequence] == ["A", "BC", "D"]


@pytest.mark.parametrize(
    ("terms", "name", "kept"),
    [
        ((), "Doe^Jane", None),
        (("ISO_IR 100",), "Äneas^Rüdiger", "ISO_IR 100"),
        (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        (("ISO_IR 192",), "王^小東", "ISO_IR 192"),
        (("", "ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"]),
        (("", "ISO 2022 IR 58"), "Zhang^XiaoDong=张^小东", "ISO_IR 192"),
        (("ISO_IR 100", "ISO 2022 IR 149", "ISO 2022 IR 58"), "Zhang^XiaoDong=张^小东", "ISO_IR 192"),
        (("ISO 2022 IR 87",), "Yamada^Tarou=山田^太郎=やまだ^たろう", "ISO_IR 192"),
        (("ISO 2022 IR 149",), "Hong^Gildong=洪^吉洞=홍^길동", "ISO_IR 192"),
        (("ISO_IR 100",), "王^小東", "ISO_IR 192"),
        ((), "Ä", "ISO_IR 192"),
        (("no such set",), "Doe", "ISO_IR 192"),
        (("", "ISO 2022 IR 87"), "Yamamoto^Tarou=山本^太郎", "ISO_IR 192"),  # one byte of 本 is a backslash
        (("GB18030",), "王^小东", "GB18030"),
        (("GB18030",), "乗^小东", "ISO_IR 192"),
        (("ISO_IR 13",), "ﾔﾏﾀﾞ^ﾀﾛｳ", "ISO_IR 13"),
        (("ISO_IR 13",), "Müller^山田", "ISO_IR 192"),
        (("", "ISO 2022 GBK"), "ā^王", "ISO_IR 192"),
    ],
)  # fmt: skip
def test_a_name_keeps_its_character_set_where_it_can(terms: tuple[str, ...], name: str, kept: object) -> None:
    charset = (Attribute("00080005", "CS", terms),) if terms else ()
    data_set = read_back((*charset, Attribute("00100010", "PN", (name,))))
    assert str(data_set.PatientName) == name
    if kept is not None:
        assert data_set.SpecificCharacterSet == kept


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom tells of bytes that are not in a character set
@given(
    st.lists(st.sampled_from(sorted({*python_encoding, ""})), min_size=1, max_size=3).map(tuple),
    st.one_of(
        st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\=^"), min_size=1, max_size=8),
        st.text(st.sampled_from("山本太郎乗秋张小东洪길ﾔﾏÄéßΩЖł¥‾~¢A"), min_size=1, max_size=8),
    ),
)
def test_any_text_comes_back_whatever_the_character_set(terms: tuple[str, ...], text: str) -> None:
    charset = Attribute("00080005", "CS", terms)
    data_set = read_back(
        (charset, Attribute("00081030", "LO", (text, "B")), Attribute("00100010", "PN", (f"A={text}",)))
    )
    assert list(data_set.StudyDescription) == [text, "B"]
    assert str(data_set.PatientName) == f"A={text}"


def test_what_the_short_form_cannot_hold_is_written_as_un() -> None:
    assert encode_element("00104000", "LT", bytes(70_000))[4:6] == b"UN"
