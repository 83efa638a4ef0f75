"""What an error is about: one image set, its data store, or all. AHI and the index are asked."""

from collections.abc import Callable

import pytest

from dicomweb import errors
from dicomweb.errors import ProxyError
from index.follow.blame import Blame, BlameRule

AWAY = errors.UpstreamBusy("away")
BROKEN = errors.UpstreamBroken("broken")
GONE = errors.NotFound("gone")
Answers = dict[str | None, ProxyError]


def asking(answers: Answers) -> Callable[[str | None], None]:
    def ask(datastore_id: str | None) -> None:
        if error := answers.get(datastore_id):
            raise error

    return ask


@pytest.mark.parametrize(
    ("error", "ahi", "index", "blamed"),
    [
        pytest.param(BROKEN, {}, None, Blame.IMAGE_SET, id="AHI answers everything else"),
        pytest.param(AWAY, {}, None, Blame.IMAGE_SET, id="cut, and all else is well"),
        pytest.param(errors.UnusableAnswer("half"), {}, None, Blame.IMAGE_SET, id="half a text"),
        pytest.param(errors.UpstreamFailed("refused"), {}, None, Blame.IMAGE_SET, id="a statement that is refused"),
        pytest.param(GONE, {}, None, Blame.IMAGE_SET, id="not shown yet"),
        pytest.param(errors.UpstreamLocked("locked"), {"d": AWAY, None: AWAY}, AWAY, Blame.IMAGE_SET, id="locked"),
        pytest.param(GONE, {"d": GONE}, None, Blame.DATASTORE, id="the data store is gone"),
        pytest.param(errors.UpstreamDenied("no right"), {}, None, Blame.DATASTORE, id="no right"),
        pytest.param(BROKEN, {"d": BROKEN}, None, Blame.DATASTORE, id="this data store is broken"),
        pytest.param(BROKEN, {"d": BROKEN, None: BROKEN}, None, Blame.ALL, id="AHI is broken"),
        pytest.param(AWAY, {"d": AWAY, None: AWAY}, None, Blame.ALL, id="AHI is away"),
        pytest.param(AWAY, {}, AWAY, Blame.ALL, id="the index is away"),
        pytest.param(errors.UpstreamFailed("refused"), {}, AWAY, Blame.ALL, id="the index restarts"),
        pytest.param(errors.UpstreamDenied("no right"), {}, AWAY, Blame.ALL, id="no right, and the index is away"),
        pytest.param(errors.UpstreamThrottled("too many"), {}, None, Blame.ALL, id="too many calls"),
        pytest.param(errors.UpstreamRefused("expired"), {}, None, Blame.ALL, id="credentials"),
        pytest.param(BROKEN, {"d": errors.UpstreamRefused("expired")}, None, Blame.ALL, id="credentials, asked"),
    ],
)
def test_an_error_is_about_what_does_not_answer(
    error: ProxyError, ahi: Answers, index: ProxyError | None, blamed: Blame
) -> None:
    rule = BlameRule(asking(ahi), lambda: asking({None: index} if index else {})(None))
    assert rule.blame(error, "d") is blamed
