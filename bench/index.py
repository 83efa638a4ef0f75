"""An index of a million studies, made by SQL in a private MariaDB: names, dates and modalities as archives have them.

Every value follows from the number of its row, so two runs make the same index.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.schema import metadata
from tests.servers import MariaDb, engine_of, mysql_server

DATABASE = "ahiindex"
DATA_STORES = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210")

PATIENTS_OF_1000_STUDIES = 300
_FIRST_DAY, _DAYS = "2016-01-01", 3653

_SURNAMES = ("SMITH", "JONES", "GARCIA", "MUELLER", "Müller", "NGUYEN", "ROSSI", "DUPONT", "NOVAK", "Jönsson", "KIM",
             "PATEL", "SILVA", "COHEN", "O'BRIEN", "VAN DIJK", "YILMAZ", "KOWALSKI", "IVANOV", "SATO")  # fmt: skip
_GIVEN_NAMES = ("ANNA", "JOHN", "MARIA", "PETER", "LI", "FATIMA", "JOSE", "EVA", "OMAR", "INGRID", "PAUL", "ZOE", "")
_PHYSICIANS = ("HOUSE^GREGORY", "CURIE^MARIE", "None", "RÖNTGEN^WILHELM", "None", "GREY^MEREDITH", "", "WATSON^JOHN")
_DESCRIPTIONS = ("CT THORAX", "CT ABDOMEN", "MR BRAIN", "MR KNEE LEFT", "CHEST PA", "CHEST AP", "None", "US ABDOMEN",
                 "MAMMOGRAPHY SCREENING", "PET/CT WHOLE BODY", "FOOT 2 VIEWS", "Hüfte beidseits", "None")  # fmt: skip
_SERIES_DESCRIPTIONS = ("AXIAL", "CORONAL", "SAGITTAL", "None", "SCOUT", "T1", "T2 FLAIR", "PA", "LATERAL", "REPORT")
_BODY_PARTS = ("CHEST", "ABDOMEN", "HEAD", "KNEE", "None", "BREAST", "FOOT", "PELVIS")

_MODALITIES = (
    ("OPT", 20_000),  # rare ones: 1 of 20,000 studies
    ("ES", 2_000),
    ("XA", 200),
    ("PT", 100),
    ("NM", 70),
    ("MG", 20),
    ("US", 8),
    ("DX", 6),
    ("CR", 5),
    ("MR", 3),
)
"""A modality, and of how many of the studies that are left one has it; all others are CT."""

_SERIES_OF_STUDY = (1, 1, 2, 2, 2, 3, 3, 4, 5, 7)  # 3 on average
_INSTANCES_OF_SERIES = (1, 1, 1, 1, 1, 2, 2, 3, 3, 5)  # 2 on average, or as many times that as `Size` says


@dataclass(frozen=True)
class Size:
    """The number of rows to create: `studies`, and the others in proportion.

    A study has 6 instances, times `instances`: with a million studies the index is made in minutes, and a factor makes
    studies as long as those of a scanner.
    """

    studies: int
    instances: int = 1

    @property
    def patients(self) -> int:
        """The number of patients."""
        return self.studies * PATIENTS_OF_1000_STUDIES // 1000


def _one_of(choices: tuple[str | int, ...], number: str) -> str:
    """An SQL expression for the choice that a row with this `number` gets."""
    listed = ", ".join("'" + choice.replace("'", "''") + "'" if isinstance(choice, str) else str(choice)
                       for choice in choices)  # fmt: skip
    return f"ELT(1 + ({number}) MOD {len(choices)}, {listed})"


def _hash(number: str, salt: int) -> str:
    """An SQL expression for a pseudorandom number from 0 to 2^32 - 1."""
    return f"CRC32(CONCAT({salt}, ':', {number}))"


def _share(number: str, salt: int) -> str:
    """An SQL expression for a pseudorandom number from 0 to 1, evenly distributed."""
    return f"({_hash(number, salt)} / 4294967296)"


def _modality(study: str) -> str:
    cases = " ".join(f"WHEN {_hash(study, 40 + at)} MOD {one_of} = 0 THEN '{modality}'"
                     for at, (modality, one_of) in enumerate(_MODALITIES))  # fmt: skip
    return f"CASE {cases} ELSE 'CT' END"


def _number_of_series(study: str) -> str:
    return _one_of(_SERIES_OF_STUDY, _hash(study, 30))


def _number_of_instances(size: Size, study: str, series_number: str) -> str:
    of_series = tuple(number * size.instances for number in _INSTANCES_OF_SERIES)
    return _one_of(of_series, f"{_hash(study, 31)} + {series_number}")


def _statements(size: Size) -> Iterator[tuple[str, str]]:
    """The statements that fill the index."""
    issuers = "('DEFAULT_DOMAIN'), ('HOSPITAL_A'), ('HOSPITAL_B'), ('HOSPITAL_C'), ('HOSPITAL_D')"
    yield "issuers", f"INSERT INTO issuer (issuerofpatientid) VALUES {issuers}"
    yield (
        "patients",
        f"""
        INSERT INTO patient (patient_pkey, issuer_pkey, patientid, patientname, patientbirthdate, patientsex)
        SELECT seq, IF(seq <= 5, seq, IF(seq MOD 5, 1, 1 + {_hash("seq", 1)} MOD 5)),
            IF(seq <= 5, 'NO_PID', CONCAT('MRN', LPAD(seq, 8, '0'))),
            IF({_hash("seq", 2)} MOD 100 = 0, 'None',
               CONCAT({_one_of(_SURNAMES, _hash("seq", 3))}, seq, '^', {_one_of(_GIVEN_NAMES, _hash("seq", 4))})),
            IF({_hash("seq", 5)} MOD 50 = 0, NULL, '1930-01-01' + INTERVAL {_hash("seq", 6)} MOD 32000 DAY),
            {_one_of(("F", "M", "F", "M", "F", "M", "O", "None"), _hash("seq", 7))}
        FROM seq_1_to_{size.patients}""",
    )
    instances = f"(SELECT SUM({_number_of_instances(size, 'study.seq', 'nth.seq')}) FROM seq_1_to_7 nth"
    yield (
        "studies",
        f"""
        INSERT INTO study
        SELECT seq, IF(seq <= {size.patients}, seq, 1 + FLOOR({size.patients} * POW({_share("seq", 10)}, 1.2))),
            CONCAT('2.25.', 1000000000000000000 + seq),
            IF({_hash("seq", 11)} MOD 30 = 0, 'None', CONCAT('A', LPAD(seq, 9, '0'))),
            IF({_hash("seq", 12)} MOD 3 = 0, 'None', CONCAT('S', seq MOD 100000)),
            IF({_hash("seq", 13)} MOD 100 = 0, NULL, '{_FIRST_DAY}' + INTERVAL FLOOR({_DAYS} *
               IF({_hash("seq", 14)} MOD 10 < 7, (seq - 1) / {size.studies}, {_share("seq", 15)})) DAY),
            IF({_hash("seq", 16)} MOD 10 < 4, NULL, SEC_TO_TIME(25200 + {_hash("seq", 17)} MOD 50000)),
            {_one_of(_DESCRIPTIONS, _hash("seq", 18))}, {_one_of(_PHYSICIANS, _hash("seq", 19))},
            IF({_hash("seq", 20)} MOD 20 = 0, 0, {_number_of_series("seq")}),
            IF({_hash("seq", 20)} MOD 20 = 0, 0, {instances} WHERE nth.seq <= {_number_of_series("study.seq")}))
        FROM seq_1_to_{size.studies} study""",
    )
    main = _modality("study.seq")
    yield (
        "series",
        f"""
        INSERT INTO series (study_pkey, seriesinstanceuid, modality, seriesnumber, seriesdescription, institutionname,
            bodypartexamined, stationname, manufacturer, protocolname, laterality, numberofseriesrelatedinstances)
        SELECT STRAIGHT_JOIN study.seq, CONCAT('2.25.', 1000000000000000000 + study.seq, '.', nth.seq),
            CASE WHEN nth.seq = 1 THEN {main}
                WHEN {_hash("study.seq", 22)} MOD 200 = nth.seq THEN 'None'
                WHEN nth.seq = {_number_of_series("study.seq")} AND {_hash("study.seq", 23)} MOD 7 = 0 THEN 'SR'
                WHEN nth.seq = {_number_of_series("study.seq")} AND {_hash("study.seq", 23)} MOD 7 = 1 THEN 'PR'
                ELSE {main} END,
            IF({_hash("study.seq", 24)} MOD 40 = nth.seq, 'None', CONCAT(nth.seq, IF(study.seq MOD 2, ' ', ''))),
            {_one_of(_SERIES_DESCRIPTIONS, _hash("study.seq", 25) + " + nth.seq")},
            {_one_of(("General Hospital", "Clinic of the North", "None"), _hash("study.seq", 26))},
            {_one_of(_BODY_PARTS, _hash("study.seq", 27))}, CONCAT('STATION', study.seq MOD 40),
            {_one_of(("ACME", "Initech", "None"), _hash("study.seq", 28))}, 'None', NULL,
            IF({_hash("study.seq", 20)} MOD 20 = 0, 0, {_number_of_instances(size, "study.seq", "nth.seq")})
        FROM seq_1_to_{size.studies} study JOIN seq_1_to_7 nth ON nth.seq <= {_number_of_series("study.seq")}""",
    )
    yield (
        "image sets",
        f"""
        INSERT INTO imageset (imageset_pkey, series_pkey, imagesetid, datastoreid)
        SELECT series_pkey, series_pkey, LPAD(LOWER(HEX(series_pkey)), 32, '0'),
            IF(study_pkey MOD 10, '{DATA_STORES[0]}', '{DATA_STORES[1]}')
        FROM series""",
    )
    number_of_instances = _number_of_instances(size, "study_pkey", "SUBSTRING_INDEX(seriesinstanceuid, '.', -1)")
    yield (
        "instances",
        f"""
        INSERT INTO instance (series_pkey, sopinstanceuid, sopclassuid, imagetype, instancenumber, contentdate,
            photometricinterpretation, numberofframes, `rows`, `columns`, bitsallocated, bitsstored, highbit,
            pixelrepresentation, windowcenter, windowwidth, imageset_pkey)
        SELECT STRAIGHT_JOIN series_pkey, CONCAT(seriesinstanceuid, '.', nth.seq),
            CONCAT('1.2.840.10008.5.1.4.1.1.', {_one_of(("2", "4", "1", "7"), "study_pkey")}),
            '[''ORIGINAL'', ''PRIMARY'']', nth.seq, '{_FIRST_DAY}' + INTERVAL study_pkey MOD {_DAYS} DAY,
            'MONOCHROME2', IF(study_pkey MOD 30, NULL, 20), 512, 512, 16, 12, 11, 0, '[''40'']', '[''400'']',
            series_pkey
        FROM series JOIN seq_1_to_{max(_INSTANCES_OF_SERIES) * size.instances} nth
            ON nth.seq <= {number_of_instances}""",
    )


def generate(server: MariaDb, size: Size, tell: Callable[[str], None]) -> None:
    """Make the index in an empty database of the server."""
    server.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    with engine_of(server.url(DATABASE)) as engine:
        metadata.create_all(engine)
    for name, statement in _statements(size):
        started = time.monotonic()
        for last in set(re.findall(r"seq_1_to_(\d+)", statement)):
            server.make_sequence(DATABASE, int(last))
        server.execute(f"USE {DATABASE}", "SET SESSION unique_checks = 0, foreign_key_checks = 0", statement)
        tell(f"{name}: {time.monotonic() - started:.0f} s")
    tables = ", ".join(
        f"{DATABASE}.{name}" for name in ("issuer", "patient", "study", "series", "imageset", "instance")
    )
    server.execute(f"ANALYZE TABLE {tables}")


@contextmanager
def index_server(
    studies: int, cache: Path | None, tell: Callable[[str], None], *, instances: int = 1
) -> Iterator[MariaDb]:
    """A MariaDB or MySQL with the index; an index that exists in the folder `cache` is used again.

    `instances` is as in `Size`.
    """
    size = Size(studies, instances)
    rows = studies * instances
    memory = f"{max(64, rows * 9 // 2000)}M"
    kind = "mysql" if "MYSQLD" in os.environ else "mariadb"
    kept = cache / (f"{kind}-{studies}" if instances == 1 else f"{kind}-{studies}-{instances}") if cache else None
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
    server = mysql_server(kept=kept, memory=memory, log=f"{max(16, rows // 1000)}M")
    try:
        made = kept / "made" if kept else None
        if made is None or not made.exists():
            generate(server, size, tell)
            if made:
                made.touch()
        yield server
    finally:
        server.close()
