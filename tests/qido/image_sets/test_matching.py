"""What a search finds, by the sections of the standard; the same on every database."""

import pytest
from flask.testing import FlaskClient

from db.index_kind import IndexKind

TAG_OF_UID = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}


def found(archive: FlaskClient, resource: str) -> list[str]:
    """The last parts of the UIDs of what a search finds, in order."""
    response = archive.get(f"/aetitle/{resource}")
    assert response.status_code == 200, response.get_data(as_text=True)
    tag = TAG_OF_UID[resource.partition("?")[0].rpartition("/")[2]]
    return [data_set[tag]["Value"][0].removeprefix("1.2.") for data_set in response.get_json(force=True)]


STUDIES = [
    # single value matching: exactly, except names (PS3.4 C.2.2.2.1)
    ("PatientID=P1", "1"),
    ("PatientID=p1", "2"),
    ("00100020=P1", "1"),
    ("0020000d=1.2.4", "4"),
    ("patientid=P1", "1"),
    ("PatientID=%20P1%20", "1"),
    ("PatientID=P4", "4"),
    ("PatientID=P", ""),
    ("AccessionNumber=ACC1", "1"),
    ("AccessionNumber=acc1", ""),
    ("AccessionNumber=ACC_3", "3"),
    ("StudyID=S1", "1"),
    ("StudyID=s1", "4"),
    ("PatientSex=F", "2"),
    ("PatientSex=f", ""),
    ("IssuerOfPatientID=HOSPITAL", "4"),
    ("PatientBirthDate=19700131", "1"),
    ("StudyDescription=cafe+thorax", "1"),
    ("StudyDescription=CAF%C3%89*", "1"),
    ("PatientID=P1&StudyDate=20240110", "1"),
    ("PatientID=P1&StudyDate=20240111", ""),
    # names: in any case, in any group, by component (PS3.4 C.2.2.2.1.3)
    ("PatientName=doe^john", "1"),
    ("PatientName=DOE^J*", "2 1"),
    ("PatientName=doe^jane", "2"),
    ("PatientName=doe^jane^^", "2"),
    ("PatientName=Doe^Jane^*", "2"),
    ("PatientName=Doe^J?hn", "1"),
    ("PatientName=Doe^J?n", ""),
    ("PatientName=Doe", ""),
    ("PatientName=*oe*", "2 1"),
    ("00100010=*DOE*", "2 1"),
    ("PatientName=doring*", "5"),
    ("PatientName=D%C3%96RING^J%C3%B6rg", "5"),
    ("PatientName=%E5%B1%B1%E7%94%B0*", "4"),
    ("PatientName=*%E5%A4%AA%E9%83%8E", "4"),
    ("PatientName=yamada^tarou", "4"),
    ("PatientName=Yamada^Tarou%3D%E5%B1%B1%E7%94%B0^%E5%A4%AA%E9%83%8E", "4"),
    ("PatientName=%E3%82%84%E3%81%BE%E3%81%A0^*", "4"),
    ("PatientName=%E5%B1%B1", ""),
    # groups that are left out may be any
    ("PatientName==%E5%B1%B1%E7%94%B0*", "4"),
    ("PatientName==%E5%B1%B1%E7%94%B0^%E5%A4%AA%E9%83%8E", "4"),
    ("PatientName=%3D%E5%B1%B1%E7%94%B0*=", "4"),
    ("PatientName===%E3%82%84%E3%81%BE%E3%81%A0*", "4"),
    ("PatientName==%E3%82%84%E3%81%BE%E3%81%A0*", "4"),
    ("PatientName===%E5%B1%B1%E7%94%B0*", ""),
    ("PatientName=yamada*==%E3%82%84%E3%81%BE%E3%81%A0*", "4"),
    ("PatientName=doe*==%E3%82%84%E3%81%BE%E3%81%A0*", ""),
    ("PatientName=yamada^tarou=", "4"),
    ("PatientName==yamada*", ""),
    ("PatientName==doe*", ""),
    ("PatientName==*", "2 4 1 5 3"),
    ("PatientName==", "2 4 1 5 3"),
    ("PatientName==%E5%B1%B1%E7%94%B0*&fuzzymatching=True", "4"),
    ("PatientName=doe+john&fuzzymatching=TRUE", "2 1"),
    ("PatientName=doe+john&fuzzymatching=False", ""),
    ("PatientName=^", ""),
    ("ReferringPhysicianName=muller*", "1 5"),
    ("ReferringPhysicianName=M%C3%BCller^*rztin", "1"),
    # universal matching finds also what is absent (PS3.4 C.2.2.2.3)
    ("", "2 4 1 5 3"),
    ("PatientName=", "2 4 1 5 3"),
    ("PatientName=*", "2 4 1 5 3"),
    ("StudyTime=*", "2 4 1 5 3"),
    ("StudyInstanceUID=*", "2 4 1 5 3"),
    ("ModalitiesInStudy=", "2 4 1 5 3"),
    ("PatientID=P1&PatientID=*", "2 4 1 5 3"),
    # wildcards: only * and ? are special (PS3.4 C.2.2.2.4)
    ("PatientID=P*", "4 1 5"),
    ("PatientID=?1", "2 1"),
    ("PatientID=P?", "4 1 5"),
    ("PatientID=P%25", ""),
    ("PatientID=P_", ""),
    ("PatientID=%5BPp%5D?", ""),
    ("PatientName=%5BDd%5Doe*", ""),
    ("PatientID=!*", ""),
    ("PatientID=%5C*", ""),
    ("AccessionNumber=ACC_*", "3"),
    ("AccessionNumber=ACC?3", "4 3"),
    ("AccessionNumber=*ACC*", "2 4 1 3"),
    ("AccessionNumber=*acc*", ""),
    ("PatientID=P**1", "1"),
    # lists (PS3.4 C.2.2.2.2, PS3.18 8.3.4.1)
    ("StudyInstanceUID=1.2.1,1.2.4", "4 1"),
    ("StudyInstanceUID=1.2.1%5C1.2.4", "4 1"),
    ("StudyInstanceUID=1.2.1&StudyInstanceUID=1.2.4", "4 1"),
    ("StudyInstanceUID=1.2.1,,1.2.99", "1"),
    ("PatientID=P1&PatientID=p1", "2 1"),
    ("StudyDate=20231231&StudyDate=20240112-", "2 5"),
    ("PatientID=P1%5Cp1", ""),
    ("multiplevaluematching=true&PatientID=P1%5Cp1", "2 1"),
    ("multiplevaluematching=true&PatientName=doe^john%5Cd%C3%B6ring*", "1 5"),
    # ranges (PS3.4 C.2.2.2.5); an unknown time may be any time
    ("StudyDate=20240110", "4 1"),
    ("StudyDate=20240110-20240111", "4 1"),
    ("StudyDate=20240110-", "2 4 1"),
    ("StudyDate=-20240110", "4 1 5"),
    ("00080020=20240201-20240101", ""),
    # combined date and time (PS3.4 C.2.2.2.5)
    ("StudyDate=20231231-20240110&StudyTime=1200-1100", "1 5"),
    ("StudyDate=20231231-20240110&StudyTime=1200-1000", "5"),
    ("StudyDate=20240110&StudyTime=1200-1900", "4"),
    # modalities: at least one series (PS3.4 C.3.4)
    ("ModalitiesInStudy=CT", "4 1"),
    ("ModalitiesInStudy=SR", "1"),
    ("ModalitiesInStudy=MR,US", "2 5"),
    ("ModalitiesInStudy=MR%5CUS", "2 5"),
    ("00080061=MR&00080061=US", "2 5"),
    ("ModalitiesInStudy=?R", "2 1"),
    ("ModalitiesInStudy=ct", ""),
    ("ModalitiesInStudy=CT&PatientID=P1", "1"),
    # what the index writes for "absent" matches nothing
    ("PatientID=NO_PID", ""),
    ("PatientID=NO*", ""),
    ("PatientName=None", ""),
    ("PatientName=n*", ""),
    ("PatientName=N%C3%B3ne", ""),
    ("StudyDescription=none", ""),
    ("StudyID=None", ""),
    ("StudyID=N*", ""),
    ("IssuerOfPatientID=DEFAULT_DOMAIN", ""),
    ("IssuerOfPatientID=DEF*", ""),
    ("ModalitiesInStudy=None", ""),
    ("ModalitiesInStudy=N*", ""),
    # empty value matching (PS3.18 8.3.4.3)
    ('emptyvaluematching=true&PatientID=""', "3"),
    ('emptyvaluematching=true&PatientName=""', "3"),
    ('emptyvaluematching=true&StudyID=""', "2 5 3"),
    ('emptyvaluematching=true&StudyDate=""', "3"),
    ('emptyvaluematching=true&ModalitiesInStudy=""', "3"),
    ('emptyvaluematching=true&ModalitiesInStudy=""&ModalitiesInStudy=MR', "2 3"),
    ('PatientID=""', ""),
    # what does not restrict (PS3.18 8.3.4)
    ("&includefield=,", "2 4 1 5 3"),
    ("a=1&&b=2", "2 4 1 5 3"),
    ("fuzzymatching=false", "2 4 1 5 3"),
    ("fuzzymatching=true&PatientName=doe*", "2 1"),
    ("SliceThickness=1", "2 4 1 5 3"),
    ("Modality=CT", "2 4 1 5 3"),
    ("00191001=X", "2 4 1 5 3"),
    ("limit=&offset=", "2 4 1 5 3"),
]

LOWER = [
    # keys of the level, numbers as numbers (PS3.4 C.2.2.2.1; PS3.18 Table 10.6.1-5)
    ("studies/1.2.1/series?SeriesNumber=2", "1.1"),
    ("studies/1.2.1/series?SeriesNumber=002", "1.1"),
    ("studies/1.2.1/series?SeriesNumber=%2B10", "1.2"),
    ("studies/1.2.1/series?SeriesNumber=1", ""),
    ("series?SeriesNumber=0", ""),
    ("studies/1.2.1/series?Modality=CT", "1.1"),
    ("studies/1.2.1/series?Modality=CT,SR", "1.1 1.2"),
    ("studies/1.2.1/series?SeriesInstanceUID=1.2.1.2", "1.2"),
    ("studies/1.2.1/series?SeriesInstanceUID=1.2.2.1", ""),
    ("studies/1.2.1/series?SeriesDescription=report+50%25_*", "1.2"),
    ("studies/1.2.1/series?SeriesDescription=report+50_*", ""),
    ("studies/1.2.1/series?SeriesDescription=*done", "1.2"),
    ("series?SeriesDescription=None", ""),
    ("series?BodyPartExamined=HEAD", "2.1"),
    ("studies/1.2.1/series?PatientID=P1", "1.1 1.2"),
    ("studies/1.2.1/series?PatientID=p1", ""),
    # the order: studies newest first, series by number, unknown numbers last
    ("studies/1.2.1/series", "1.1 1.2"),
    ("series", "2.1 4.1 4.2 1.1 1.2 5.1"),
    ("series?Modality=CT", "4.1 1.1"),
    ("series?ModalitiesInStudy=SR", "1.1 1.2"),
    ("series?StudyDate=20240110&Modality=CT,SR", "4.1 1.1 1.2"),
    ("series?0020000E=1.2.1.1&0020000E=1.2.2.1", "2.1 1.1"),
    ("series?", "2.1 4.1 4.2 1.1 1.2 5.1"),
    # instances, by number
    ("studies/1.2.1/series/1.2.1.1/instances", "1.1.1 1.1.3 1.1.2"),
    ("studies/1.2.1/instances", "1.1.1 1.1.3 1.1.2 1.2.1"),
    ("studies/1.2.1/instances?Modality=SR", "1.2.1"),
    ("studies/1.2.1/instances?0020000E=1.2.1.1&0020000E=1.2.1.2&00080060=CT", "1.1.1 1.1.3 1.1.2"),
    ("studies/1.2.4/series/1.2.4.1/instances", ""),
    ("studies/1.2.1/series/1.2.1.1/instances?InstanceNumber=10", "1.1.3"),
    ("studies/1.2.1/series/1.2.1.1/instances?InstanceNumber=+010+", "1.1.3"),
    ("studies/1.2.1/series/1.2.1.1/instances?SOPInstanceUID=1.2.1.1.2,1.2.1.1.3", "1.1.3 1.1.2"),
    ("studies/1.2.1/series/1.2.1.1/instances?Rows=512&Columns=256", "1.1.3"),
    ("studies/1.2.1/series/1.2.1.1/instances?NumberOfFrames=7", "1.1.2"),
    ("instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.4", "2.1.1 2.1.2"),
    ("instances?PatientName=doe*", "2.1.1 2.1.2 1.1.1 1.1.3 1.1.2 1.2.1"),
    ("instances?ModalitiesInStudy=SR&Modality=SR", "1.2.1"),
    ("instances?00080018=1.2.5.1.1", "5.1.1"),
    # pages (PS3.18 8.3.4.4)
    ("studies?limit=2", "2 4"),
    ("studies?limit=2&offset=2", "1 5"),
    ("studies?limit=2&offset=4", "3"),
    ("studies?offset=5", ""),
    ("studies?offset=99999999999999999999999", ""),
    ("studies?limit=0", ""),
    ("studies?limit=99999999999999999999999", "2 4 1 5 3"),
    ("studies/1.2.1/series/1.2.1.1/instances?includefield=00080018&limit=1&offset=1", "1.1.3"),
]


@pytest.mark.parametrize(("parameters", "uids"), STUDIES)
def test_studies_are_found_as_the_standard_says(archive: FlaskClient, parameters: str, uids: str) -> None:
    assert found(archive, f"studies?{parameters}") == uids.split()


@pytest.mark.parametrize(("resource", "uids"), LOWER)
def test_series_and_instances_are_found_in_order(archive: FlaskClient, resource: str, uids: str) -> None:
    assert found(archive, resource) == uids.split()


@pytest.mark.parametrize(
    ("resource", "certain", "unknown"),
    [
        ("studies?StudyTime=10", "1", "2 1 3"),
        ("studies?StudyTime=1011", "1", "2 1 3"),
        ("studies?StudyTime=101112", "1", "2 1 3"),
        ("studies?StudyTime=101112.5", "", "2 3"),
        ("studies?StudyTime=101113", "", "2 3"),
        ("studies?StudyTime=-101112", "1", "2 1 3"),
        ("studies?StudyTime=-10", "1", "2 1 3"),
        ("studies?StudyTime=1012-18", "4", "2 4 3"),
        ("studies?StudyTime=1800-", "4 5", "2 4 5 3"),
        ("studies?StudyTime=2300-1100", "1 5", "2 1 5 3"),
        ("studies?StudyTime=235960", "5", "2 5 3"),
        ("studies?StudyDate=20231231-20240112&StudyTime=2359-0100", "4 1 5", "2 4 1 5"),
        ("studies?StudyDate=20240110-&StudyTime=1200-", "2 4", "2 4"),
        ("studies?StudyDate=20240111-&StudyTime=0000-", "2", "2"),
        ("studies?StudyDate=20231231-&StudyTime=1200-1900", "4", "2 4"),
        ("studies/1.2.1/series/1.2.1.1/instances?ContentTime=09", "1.1.1", "1.1.1 1.1.3 1.1.2"),
        ("studies/1.2.1/series/1.2.1.1/instances?ContentTime=10", "", "1.1.3 1.1.2"),
    ],
)
def test_an_unknown_time_matches_where_it_may_have_been_lost(
    archive: FlaskClient, tables: IndexKind, resource: str, certain: str, unknown: str
) -> None:
    """The writer of AWS's tables loses times with a fraction; without image sets to ask, each may match."""
    assert found(archive, resource) == (certain if tables is IndexKind.OWN else unknown).split()


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ("studies?limit=abc", "limit"),
        ("studies?limit=-1", "limit"),
        ("studies?offset=1.5", "offset"),
        ("studies?offset=%D9%A3", "offset"),
        ("studies?fuzzymatching=1", "fuzzymatching"),
        ("studies?emptyvaluematching=yes", "emptyvaluematching"),
        ("studies?multiplevaluematching=yes", "multiplevaluematching"),
        ("studies?0010002=P1", "0010002"),
        ("studies?001000200=P1", "001000200"),
        ("studies?00400275.0040009=1", "0040009"),
        ("studies?includefield=0010002", "0010002"),
        ("studies?includefield=StudyDate,Nonsense", "Nonsense"),
        ("studies?includefield=all,.00100010", ".00100010"),
        ("studies?orderby=-Nonsense", "Nonsense"),
        ("studies?StudyDate=2024011", "StudyDate"),
        ("studies?StudyDate=20240230", "StudyDate"),
        ("studies?StudyDate=2024*", "StudyDate"),
        ("studies?StudyDate=-", "StudyDate"),
        ("studies?StudyDate=20240101-20240102-", "StudyDate"),
        ("studies?00080020=today", "StudyDate"),
        ("studies?StudyTime=25", "StudyTime"),
        ("studies?StudyTime=1060", "StudyTime"),
        ("studies?StudyTime=101061", "StudyTime"),
        ("studies?StudyTime=10:11", "StudyTime"),
        ("studies?StudyInstanceUID=abc", "StudyInstanceUID"),
        ("studies?StudyInstanceUID=1.2.*", "StudyInstanceUID"),
        ("studies/count?StudyInstanceUID=abc", "StudyInstanceUID"),
        ("instances?SOPClassUID=CTImageStorage", "SOPClassUID"),
        ("studies?StudyInstanceUID=1.2.99%5Cb%20c", "StudyInstanceUID"),
        ("studies?StudyInstanceUID=" + "1" * 65, "StudyInstanceUID"),
        ("series?SeriesNumber=two", "SeriesNumber"),
        ("instances?InstanceNumber=99999999999", "InstanceNumber"),
        ("studies?PatientName=a%00b", "PatientName"),
        ("studies?PatientName=" + "a" * 257, "PatientName"),
        ("studies/abc/series", "study"),
        ("studies/1.2.1/series/x/instances", "series"),
    ],
)
def test_an_ill_formed_parameter_is_refused_by_its_name(archive: FlaskClient, resource: str, named: str) -> None:
    response = archive.get(f"/aetitle/{resource}")
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert named in response.get_json(force=True)["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "studies/1.2.99/series",
        "studies/1.2.99/instances",
        "studies/1.2.1/series/1.2.99/instances",
        "studies/1.2.1/series/1.2.2.1/instances",
        "studies/1.2.99/series/1.2.1.1/instances",
        "studies/1.2.99/series?Modality=CT",
    ],
)
def test_what_the_path_names_must_exist_and_belong_together(archive: FlaskClient, path: str) -> None:
    """PS3.18 Section 10.6.3.1: the target resource is not found."""
    assert archive.get(f"/aetitle/{path}").status_code == 404


UNSUPPORTED = "{} cannot be matched at this level. It has been ignored."
UNBOUNDED = "{} can be matched within a study or a series only. It has been ignored."


@pytest.mark.parametrize(
    ("resource", "warnings"),
    [
        ("studies", []),
        ("studies?limit=5", []),
        ("studies?limit=2", ["There are 3 additional results that can be requested"]),
        ("studies?limit=2&offset=2", ["There are 1 additional results that can be requested"]),
        ("studies?limit=0", ["There are 5 additional results that can be requested"]),
        ("series?PatientID=P1&limit=1", ["There are 1 additional results that can be requested"]),
        ("studies?fuzzymatching=true", []),
        ("studies?SliceThickness=1", [UNSUPPORTED.format("SliceThickness")]),
        ("studies?slicethickness=1&00180050=2", [UNSUPPORTED.format("SliceThickness")]),
        ("studies?Modality=CT", [UNSUPPORTED.format("Modality")]),
        ("studies?00191001=X", [UNSUPPORTED.format("00191001")]),
        ("studies?NumberOfStudyRelatedSeries=2", [UNSUPPORTED.format("NumberOfStudyRelatedSeries")]),
        (
            "series?00400275.00400009=1",
            [UNBOUNDED.format("RequestAttributesSequence.ScheduledProcedureStepID")],
        ),
        ("studies?SliceThickness=&Modality=*", []),
        ("studies?Unheard=1&RequestAttributesSequence.Unheard=1", []),
    ],
)
def test_what_the_client_should_know_is_a_warning(archive: FlaskClient, resource: str, warnings: list[str]) -> None:
    """PS3.18 Sections 8.3.4.2 and 8.3.4.4; one field of code 299 for each."""
    fields = archive.get(f"/aetitle/{resource}").headers.getlist("Warning")
    assert [field.partition(" ")[0] for field in fields] == ["299"] * len(warnings)
    assert [field.partition('"')[2].rstrip('"') for field in fields] == warnings
