"""The level of the information model to which an element belongs in AHI.

AHI moves these elements from the instances to patient, study or series when it imports them (AWS HealthImaging
Developer Guide, "metadata normalization"). All others stay with the instance.
"""

from collections.abc import Iterator

PATIENT, STUDY, SERIES, INSTANCE = "Patient", "Study", "Series", "Instance"

_LEVELS = {
    PATIENT: """
        0008: 1120
        0010: 0010 0020 0021 0022 0024 0026 0027 0030 0032 0033 0034 0035 0040 0200 0212 0213 0216 0218 0219 0221
              1001 1002 1100 2160 2201 2202 2292 2293 2294 2297 2298 2299 4000
        0012: 0010 0020 0021 0030 0031 0040 0042 0062 0063 0064 0081 0082""",
    STUDY: """
        0008: 0020 0030 0050 0051 0090 0096 009C 009D 1030 1032 1048 1049 1060 1062 1080 1084 1110
        0010: 1010 1020 1021 1022 1023 1024 1030 2000 2110 2180 21A0 21B0 21C0 21D0 2203
        0012: 0050 0051 0052 0053 0083
        0020: 000D 0010
        0032: 1033 1034 1066 1067
        0038: 0010 0014 0060 0062 0064 0500
        0040: 1012""",
    SERIES: """
        0008: 0021 0031 0060 0070 0080 0081 1010 1040 1041 1050 1052 1070 1072 1090 103E 103F 1111 1250
        0010: 2210
        0012: 0060 0071 0072
        0018: 0015 1000 1002 1008 100A 100B 1020 1030 1050 1200 1201 5100
        0020: 000E 0011 0052 0060 1040
        0028: 0108 0109 0120
        0040: 0275
        300A: 0700""",
}


def _tags(table: str) -> Iterator[int]:
    """Parse a table of lines `group: element element`."""
    group = 0
    for word in table.split():
        if word.endswith(":"):
            group = int(word[:-1], 16) << 16
        else:
            yield group | int(word, 16)


LEVELS = {tag: level for level, table in _LEVELS.items() for tag in _tags(table)}
"""The level of each element that AHI moves out of the instances."""
