"""doc/operations.md says what the template, the metrics, the health check and the benchmark say."""

import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from app.telemetry.metrics import metrics_application
from app.telemetry.replacements import Replacements
from app.telemetry.request_metrics import RequestMetrics
from runtime.shared_metrics import SharedMetrics
from tests.deploy.files import TEMPLATES, aws_services
from tests.deploy.stack import SAMPLE, SECRET, Stack

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "doc" / "operations.md").read_text()


WITH_ALL = {
    **SAMPLE,
    "IndexWriteSecretArn": SECRET,
    "StoreDatastoreId": "a" * 32,
    "DatastoreArns": "arn:aws:medical-imaging:us-east-1:111122223333:datastore/" + "a" * 32,
}


@pytest.fixture(scope="module")
def alarms() -> dict[str, Any]:
    """All alarms that the template can make."""
    return {name: one for name, one in Stack(TEMPLATES[1], WITH_ALL).resources.items() if name.endswith("Alarm")}


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack(TEMPLATES[1], SAMPLE)


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]
    assert table
    return [[cell.strip() for cell in row.split("|")] for row in table]


def test_every_alarm_of_the_template_is_explained(alarms: dict[str, Any]) -> None:
    assert {row[0].strip("`") for row in rows("Alarms")} == alarms.keys()
    assert all(meaning and advice for _, meaning, advice in rows("Alarms"))


def test_alarms_have_the_bounds_of_the_template(alarms: dict[str, Any]) -> None:
    for name, meaning, _ in rows("Alarms"):
        alarm = alarms[name.strip("`")]
        minutes = int(alarm["Period"]) * int(alarm["EvaluationPeriods"]) // 60
        bound = "MinTasks" if name == "`HealthyTasksAlarm`" else str(alarm["Threshold"])
        assert f"{minutes} minutes" in meaning and bound in meaning, name


def test_every_metric_is_explained() -> None:
    application = metrics_application(SharedMetrics(1), RequestMetrics(1), 8, Replacements())
    text = Client(application).get("/metrics").text
    made = set(re.findall(r"^# TYPE dicomweb_proxy_(\w+) \w+$", text, re.MULTILINE))
    assert {name for row in rows("Metrics") for name in re.findall(r"`(\w+)`", row[0])} == made


def test_every_reason_of_the_health_check_is_one_of_the_code() -> None:
    packages = (path.parent for path in ROOT.glob("*/__init__.py"))
    code = "\n".join(path.read_text() for package in packages for path in package.rglob("*.py"))
    assert [row[0] for row in rows("Health") if row[0].strip("`") not in code] == []


def test_costs_follow_from_the_template_and_the_assumed_prices(stack: Stack) -> None:
    table = {row[0]: [float(cell) for cell in (row[1], row[3], row[4])] for row in rows("Costs")}
    for what, (units, price, month) in table.items():
        assert month == pytest.approx(units * price, rel=0.05, abs=0.5), what
    task, tasks, hours = stack.resources["TaskDefinition"], int(stack.resources["Service"]["DesiredCount"]), 730
    fargate = {
        what.partition(": ")[2].split()[0]: found[0] for what, found in table.items() if what.startswith("Fargate")
    }
    assert fargate == {
        "cores": tasks * int(task["Cpu"]) / 1024 * hours,
        "memory": tasks * int(task["Memory"]) / 1024 * hours,
        "storage": tasks * (int(task["EphemeralStorage"]["SizeInGiB"]) - 20) * hours,
    }
    assert table["alarms"][0] == sum(name.endswith("Alarm") for name in stack.resources)
    own = Stack(TEMPLATES[1], WITH_ALL).resources["IndexTaskDefinition"]
    of_index = [found[0] for what, found in table.items() if what.startswith("index of your own: ")]
    assert of_index[:2] == [int(own["Cpu"]) / 1024 * hours, int(own["Memory"]) / 1024 * hours]


def test_every_service_that_the_code_calls_has_an_endpoint() -> None:
    named = {name for row in rows("VPC endpoints") for name in re.findall(r"`([\w.-]+)`", row[0])}
    assert aws_services() | {"runtime-medical-imaging", "ecr.api", "ecr.dkr", "s3"} <= named


def test_retention_is_that_of_the_templates(stack: Stack) -> None:
    kept = {
        by: f"{days} {unit}"
        for what, kept, by in rows("Retention")
        for days, unit in re.findall(r"([\d,]+) (\w+)", kept)
    }
    audited = Stack(TEMPLATES[1], {**SAMPLE, "AuditTrail": "refuse"}).resources
    found = {by.partition("`")[2].partition("`")[0]: days for by, days in kept.items()}
    assert found["AuditRetentionDays"] == f"{int(audited['AuditLogGroup']['RetentionInDays']):,} days"
    assert found["LogRetentionDays"] == f"{stack.resources['LogGroup']['RetentionInDays']} days"


def test_sizes_are_those_of_a_run() -> None:
    results = re.sub(r" +", " ", (ROOT / "bench" / "RESULTS.md").read_text())
    assert len(rows("Sizes")) == 4
    assert [row for row in rows("Sizes") if f"| {' | '.join(row)} |" not in results] == []
