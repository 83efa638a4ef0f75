"""`python main.py check`: check everything that the service needs, and say what to do about problems."""

from argparse import ArgumentParser, Namespace

from app.check_result import CheckResult, describe, failed
from app.commands.check_ahi import check_ahi, check_identity
from app.commands.check_following import check_queue, check_writer
from app.commands.check_index import check_index
from app.commands.check_login import check_login
from app.commands.check_service import check_audit, check_cache, check_processes, check_settings, check_traces
from app.commands.check_store import check_store
from app.commands.remote import until_error, without_login
from app.processes.resources import find_index, find_trust
from app.settings import Settings, SettingsError
from db.engine import Database

_INDEX_ADVICE = "check host, port, user, security group; DB_TLS_CA if its certificate is not trusted"
_QUEUE_ADVICE = "check INDEX_EVENTS_QUEUE_URL, region, network, and the rights to the queue"
_OF_AWS = frozenset({"follower", "comparison"})
"""Results that say nothing about an embedded data store: it writes its index itself, and knows no accounts."""

_AHI_ADVICE = "check region, network, credentials, IAM policy"


def add_arguments(parser: ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(settings: Settings, options: Namespace) -> int:
    """Print all results; the exit status is 1 if the service cannot do its work."""
    if not (settings.names_index or settings.may_write_index):
        raise SettingsError(
            "check looks at a database and AHI, but none is set: the embedded data store needs no check"
        )
    results = check_all(settings)
    print("\n".join(describe(results, as_json=options.json)))
    return int(failed(results))


def check_all(settings: Settings) -> list[CheckResult]:
    """All results, in the order in which an operator would look for a cause.

    Settings of the index command alone name no index that is read: the checks of the service are left out then.
    """
    if settings.names_index:
        results = [*_check_service(settings), *check_store(settings)]
        if settings.embedded:
            results = [result for result in results if result.what not in _OF_AWS]
    else:
        results = [check_identity(settings)]
    results += until_error("write login", _INDEX_ADVICE, lambda: check_writer(settings))
    results += until_error("queue of events", _QUEUE_ADVICE, lambda: check_queue(settings))
    return results


def _check_service(settings: Settings) -> list[CheckResult]:
    results = [*check_settings(settings), *check_login(settings), *check_cache(settings), check_audit(settings)]
    results += [*check_traces(), *check_processes(settings), *(() if settings.embedded else [check_identity(settings)])]
    try:
        database = Database(find_index(settings), find_trust(settings), pool_size=1)
    except SettingsError as error:
        return [*results, without_login("database", settings.aws_default_region, error)]
    try:
        results += until_error("database", _INDEX_ADVICE, lambda: check_index(database, settings.db_tls))
        results += until_error("AHI", _AHI_ADVICE, lambda: check_ahi(settings, database))
    finally:
        database.close()
    return results
