"""Values of image sets, converted to the types of the values of the index."""

from dicomweb.dates import read_date, read_time
from dicomweb.dicom_json import DataSet
from qido.image_sets.matching import values
from qido.parse.attributes import Matching, SearchAttribute
from qido.results import Value


def index_values(attribute: SearchAttribute, data_set: DataSet) -> tuple[Value, ...]:
    """The values of an attribute in a data set, with the types that the index has."""
    found: list[Value] = []
    for value in values(data_set.get(attribute.tag, {})):
        match attribute.matching:
            case Matching.DATE:
                day = read_date(str(value))
                found += [day] if day else []
            case Matching.TIME:
                clock = read_time(str(value))
                found += [clock] if clock is not None else []
            case _:
                found.append(int(value) if isinstance(value, float) and value.is_integer() else _text(value))
    return tuple(found)


def _text(value: str | int | float) -> str | int:
    return value if isinstance(value, str | int) else str(value)
