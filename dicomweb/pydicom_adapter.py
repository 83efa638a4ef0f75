"""The only module that uses private parts of pydicom. Runs in web processes, in fetchers, and in the data store.

`tests/dicomweb/test_pydicom_adapter.py` holds the parts that this needs.
"""

from collections.abc import Mapping, MutableMapping
from typing import BinaryIO

from pydicom import Dataset
from pydicom._dicom_dict import RepeatersDictionary
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import _read_command_set_elements, _read_file_meta_info, read_preamble
from pydicom.tag import BaseTag

REPEATED_TAGS: Mapping[str, int] = {
    entry[4]: int(mask.replace("x", "0"), 16) for mask, entry in RepeatersDictionary.items()
}
"""The keywords of repeating groups (overlays, curves), each with its tag in the first group.

The public functions of pydicom do not find them by keyword.
"""


def read_file_meta(file: BinaryIO) -> Dataset:
    """The File Meta Information of a file that was just opened; pydicom's errors where it is no DICOM file.

    `dcmread` would go on, and inflate a deflated data set.
    """
    read_preamble(file, force=True)
    return _read_file_meta_info(file)


def skip_command_set(file: BinaryIO) -> None:
    """Move a file from behind its File Meta Information to its data set, past elements of group 0000."""
    _read_command_set_elements(file)


def elements_in_file_order(data_set: Dataset) -> MutableMapping[BaseTag, DataElement | RawDataElement]:
    """The elements of a data set that was read, in the order of the file and not parsed; deleting one deletes it there.

    A data set itself goes through its elements in the order of their tags, and parses each.
    """
    return data_set._dict
