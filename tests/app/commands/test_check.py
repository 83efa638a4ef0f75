"""`main.py check`: what is well is told so, what is not with what to do; on every database, against the data store."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from app.audit import destinations
from app.check_result import ERROR, OK, WARNING, CheckResult, describe, failed
from app.commands.check import check_all
from app.commands.command_line import main
from app.settings import Settings
from datastore.serving.faults import Faults, parse_faults
from db.indexes import WANTED
from db.schema import frame, imageset, instance, issuer, patient, series, study
from tests.app.audit.receiver import new_certificate, receiving
from tests.aws_server import AwsServer
from tests.datastore.shelf import DATASTORE_ID, Shelf, frame_id, identifier, image_set
from tests.datastore_server import served
from tests.servers import MariaDb, Sqlite, engine_of
from tests.service.collector import collecting
from tests.waiting import PATIENCE_SECONDS


def fill(url: str) -> None:
    """Two image sets, of which the data store has the first."""
    rows = (
        (issuer, {"issuer_pkey": 1, "issuerofpatientid": "H"}),
        (patient, {"patient_pkey": 1, "issuer_pkey": 1, "patientid": "PAT-4711", "patientname": "DOE^JANE"}),
        (study, {"study_pkey": 1, "patient_pkey": 1, "studyinstanceuid": "1.1"}),
        (series, {"series_pkey": 1, "study_pkey": 1, "seriesinstanceuid": "1.1.1"}),
        (imageset, {"imageset_pkey": 1, "series_pkey": 1, "imagesetid": identifier(1), "datastoreid": DATASTORE_ID}),
        (imageset, {"imageset_pkey": 2, "series_pkey": 1, "imagesetid": identifier(2), "datastoreid": DATASTORE_ID}),
        (instance, {"instance_pkey": 1, "series_pkey": 1, "sopinstanceuid": "1.1.1.1", "sopclassuid": "1.2",
                    "imageset_pkey": 1}),
        (frame, {"frame_pkey": 1, "instance_pkey": 1, "imageset_pkey": 1, "framenumber": 1, "frameid": frame_id(1)}),
    )  # fmt: skip
    with engine_of(url) as engine, engine.begin() as connection:
        for table, values in rows:
            connection.execute(insert(table).values(**values))


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """An endpoint of STS and Secrets Manager."""
    server = AwsServer()
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, aws: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture
def ahi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "frame"
    path.write_bytes(b"stored bytes")
    with served(Shelf(image_set(1), frames={frame_id(1): (path, "image/jph")})) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        yield


def settings_of(url: str, tmp_path: Path, **more: object) -> Settings:
    known = {"database_url": url, "aws_default_region": "us-east-1", "cache_root": tmp_path / "cache"}
    bounds = {"cache_max_bytes": 2**20, "cache_min_free_bytes": 0, "host": "127.0.0.1", "ahi_deadline_seconds": 2.0}
    return Settings(**{**known, **bounds, **more})  # type: ignore[arg-type]


def levels(findings: list[CheckResult]) -> dict[str, str]:
    return {finding.what: finding.level for finding in findings}


@pytest.mark.usefixtures("ahi")
def test_what_is_well_and_what_is_not(index_url: str, tmp_path: Path) -> None:
    fill(index_url)
    findings = check_all(settings_of(index_url, tmp_path))
    assert not [
        one for one in findings if one.level == ERROR and one.what not in ("GetImageFrame", "GetImageSetMetadata")
    ]
    grants = OK if index_url.startswith("sqlite") else WARNING
    assert levels(findings) == {
        "settings": OK, "cache": OK, "audit": WARNING, "identity": OK, "database": OK, "database TLS": OK,
        "database grants": grants, "index kind": OK, "schema": OK,
        "index": WARNING, "AHI": OK, "clock": OK, "data store": OK, "GetImageSetMetadata": ERROR,
        "GetImageFrame": OK,  # the metadata of this shelf are of no image set
        "image sets": WARNING, "SearchImageSets": OK,
    }  # fmt: skip
    (gone,) = (finding.told for finding in findings if finding.what == "image sets")
    assert gone == f"AHI no longer has 1 of 2: {identifier(2)}"
    wanted = [finding.advice for finding in findings if finding.what == "index"]
    assert len(wanted) == len(WANTED)
    assert all(advice.startswith("CREATE INDEX") for advice in wanted)
    text = "\n".join(describe(findings, as_json=False))
    assert "DOE" not in text
    assert "PAT-4711" not in text


def test_a_role_that_may_not_search_is_told(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite.new_index()
    fill(url)
    faults = Faults()
    with served(Shelf(image_set(1)), faults) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", endpoint)
        faults.replace(parse_faults("SearchImageSets:403"))
        (found,) = [one for one in check_all(settings_of(url, tmp_path)) if one.what == "SearchImageSets"]
    assert (found.level, "AccessDeniedException" in found.told) == (WARNING, True)
    assert "doc/iam-policy.json" in found.advice


@pytest.mark.usefixtures("ahi")
def test_every_finding_that_is_not_well_says_what_to_do(index_url: str, tmp_path: Path) -> None:
    findings = check_all(settings_of(index_url, tmp_path, host="0.0.0.0"))  # noqa: S104 - not bound
    assert levels(findings)["settings"] == WARNING
    assert levels(findings)["data stores"] == WARNING
    assert all((finding.level == OK) == (not finding.advice) for finding in findings)


@pytest.mark.usefixtures("ahi")
def test_a_user_who_can_only_read_is_well(mariadb: MariaDb, tmp_path: Path) -> None:
    writer, reader = mariadb.new_reader()
    fill(writer)
    by_user = [check_all(settings_of(url, tmp_path)) for url in (writer, reader)]
    assert [levels(findings)["database grants"] for findings in by_user] == [WARNING, OK]


@pytest.mark.usefixtures("ahi")
def test_a_column_that_is_missing_is_an_error(index_url: str, tmp_path: Path) -> None:
    with engine_of(index_url) as engine, engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE conflict DROP COLUMN conflict_type")
    findings = check_all(settings_of(index_url, tmp_path))
    assert [finding.told for finding in findings if finding.level == ERROR] == ["conflict lacks conflict_type"]
    assert failed(findings)


def test_what_is_down_is_an_error(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", "http://127.0.0.1:9")
    url = sqlite.new_index()
    assert levels(check_all(settings_of(url, tmp_path)))["AHI"] == ERROR
    nowhere = "mysql+pymysql://reader:x@127.0.0.1:9/index"
    assert levels(check_all(settings_of(nowhere, tmp_path)))["database"] == ERROR


@pytest.mark.usefixtures("ahi")
def test_the_secret_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mariadb: MariaDb) -> None:
    _, reader = mariadb.new_reader()
    url = make_url(reader)
    members = {"host": url.host, "port": url.port, "username": url.username, "password": url.password}
    manager = boto3.client("secretsmanager", region_name="us-east-1")
    text = json.dumps({**members, "dbname": url.database})
    arn = manager.create_secret(Name="checked", SecretString=text)["ARN"]
    found = levels(check_all(settings_of("", tmp_path, database_url=None, db_secret_arn=arn)))
    assert (found["database"], found["database grants"]) == (OK, OK)
    found = levels(check_all(settings_of("", tmp_path, database_url=None, db_secret_arn=f"{arn}x")))
    assert found["database"] == ERROR


@pytest.mark.usefixtures("ahi")
def test_who_the_service_is_to_aws(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identity() -> CheckResult:
        findings = check_all(settings_of(url, tmp_path))
        return next(finding for finding in findings if finding.what == "identity")

    url = sqlite.new_index()
    assert identity().told.startswith("AWS knows the service as arn:aws:sts::123456789012:")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    assert (identity().level, identity().told) == (
        WARNING,
        "AWS STS does not answer (Connection refused; tried GetCallerIdentity at 127.0.0.1 port 9)",
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert (identity().level, "NoCredentialsError" in identity().told) == (ERROR, True)


def audit(tmp_path: Path, **settings: object) -> CheckResult:
    """What is found of the audit; nothing else is there."""
    found = check_all(settings_of("mysql+pymysql://reader:x@127.0.0.1:9/index", tmp_path, **settings))
    (one,) = [finding for finding in found if finding.what == "audit"]
    assert (one.level == OK) == (not one.advice)
    return one


@pytest.mark.parametrize(
    ("path", "level", "told"),
    [
        ("new", OK, "can be written to"),
        ("old", OK, "can be written to"),
        ("none/audit", ERROR, "cannot be written to: No such file or directory"),
        ("folder", ERROR, "cannot be written to: Is a directory"),
        ("old/audit", ERROR, "cannot be written to: Not a directory"),
        ("/proc/audit", ERROR, "cannot be written to: No such file or directory"),  # where nobody can make files
    ],
)
def test_the_audit_file_is_looked_at_and_left_alone(tmp_path: Path, path: str, level: str, told: str) -> None:
    (tmp_path / "old").write_bytes(b"message\n")
    (tmp_path / "folder").mkdir()
    found = audit(tmp_path, audit="file", audit_file=tmp_path / path)
    assert (found.level, found.told) == (level, f"{tmp_path / path} {told}")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "old").read_bytes() == b"message\n"


def test_little_room_for_the_audit_file_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.commands.check_service._LEAST_FREE_BYTES", 2**63)
    found = audit(tmp_path, audit="file", audit_file=tmp_path / "audit")
    assert (found.level, "bytes are free" in found.told) == (WARNING, True)


def test_the_receiver_of_the_audit_is_reached_and_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "_SECONDS", PATIENCE_SECONDS)
    own, client = new_certificate(tmp_path, "receiver"), new_certificate(tmp_path, "client")
    with receiving(own, client) as receiver:
        known = {"audit": "syslog", "audit_syslog": f"tls://127.0.0.1:{receiver.port}"}
        untrusted = audit(tmp_path, **known)
        with monkeypatch.context() as patient:  # a busy receiver takes its time to refuse
            patient.setattr(destinations, "_REFUSAL_SECONDS", PATIENCE_SECONDS)
            unknown = audit(tmp_path, **known, audit_syslog_ca=own.certificate)
        shown = {"audit_syslog_cert": client.certificate, "audit_syslog_key": client.key}
        well = audit(tmp_path, **known, audit_syslog_ca=own.certificate, **shown)
        received = list(receiver.received)
    away = audit(tmp_path, **known, audit_syslog_ca=own.certificate, **shown)
    needed = audit(tmp_path, **known, audit_syslog_ca=own.certificate, **shown, audit_failure="refuse")
    assert [one.level for one in (untrusted, unknown, well, away, needed)] == [WARNING, WARNING, OK, WARNING, ERROR]
    assert "self-signed certificate" in untrusted.told
    assert "CERTIFICATE_REQUIRED" in unknown.told
    tried = f"tried a connection at 127.0.0.1 port {receiver.port}"
    assert away.told == f"{known['audit_syslog']} cannot be written to (Connection refused; {tried})"
    assert "AUDIT_SYSLOG_CA" in untrusted.advice and "AUDIT_SYSLOG_CERT" in unknown.advice
    assert not received


def test_a_missing_audit_trail_is_a_warning(tmp_path: Path) -> None:
    missing = audit(tmp_path, audit="none")
    assert (missing.level, missing.told) == (WARNING, "AUDIT is none: accesses are not recorded")


def test_an_audit_that_is_not_said_where_to_is_an_error(tmp_path: Path) -> None:
    assert audit(tmp_path, audit="file").level == ERROR
    unknown = audit(tmp_path, audit="syslog", audit_syslog="udp://no-such-host.invalid")
    assert (unknown.level, "tried a connection at no-such-host.invalid port 514)" in unknown.told) == (WARNING, True)
    assert audit(tmp_path, audit="stdout").told == "stdout can be written to"


def test_the_collector_of_traces_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def traces() -> list[CheckResult]:
        found = check_all(settings_of("mysql+pymysql://reader:x@127.0.0.1:9/index", tmp_path))
        return [finding for finding in found if finding.what == "traces"]

    assert not traces()
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        assert [one.level for one in traces()] == [OK]
        collector.status = 401
        (refused,) = traces()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "paper")
    (wrong,) = traces()
    assert (refused.level, "OTEL_EXPORTER_OTLP_ENDPOINT" in refused.advice) == (WARNING, True)
    assert (wrong.level, wrong.told) == (ERROR, "OTEL_TRACES_EXPORTER is neither otlp nor none")
    assert not collector.spans


@pytest.mark.usefixtures("ahi")
def test_the_command_prints_a_table_or_json(
    sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"DATABASE_URL": sqlite.new_index(), "AWS_DEFAULT_REGION": "us-east-1", "CACHE_ROOT": str(tmp_path)}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    run: Callable[[list[str]], int] = main
    assert run(["check"]) == 0
    assert "ok       clock" in capsys.readouterr().out
    assert run(["check", "--json"]) == 0
    assert {"what", "level", "told", "advice"} == set(json.loads(capsys.readouterr().out)[0])
