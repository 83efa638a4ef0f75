"""The configuration of OHIF (`app-config.js`): one data source for each root that the caller may use."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_SESSION_SCRIPT = Path(__file__).with_name("session.js")
EXTENSION = Path(__file__).with_name("extension.js").read_bytes()
EXTENSION_NAME = f"extension.{hashlib.sha256(EXTENSION).hexdigest()[:16]}.js"
"""An extension of OHIF in a file of ours, and its name below `/viewer/`, which changes with it."""


@dataclass(frozen=True)
class DataSource:
    """A service root for the viewer: the name in URLs of the viewer, the title for people, and the path of the root."""

    name: str
    title: str
    path: str
    stores: bool = False
    """Whether this caller may store there."""


def configuration(sources: Sequence[DataSource], *, prefix: str, ended: str, login: str = "") -> str:
    """The text of `app-config.js`. The first source is the default one.

    The browser is sent to `ended`, a path of this service, when the login or the link has ended; "" for those whom a
    proxy logs in when they open a page. It is sent to `login` if the page names a data source that the caller has not.
    """
    document = {
        "routerBasename": f"{prefix}/viewer",
        "showStudyList": True,
        "extensions": [f"{prefix}/viewer/{EXTENSION_NAME}"],
        "modes": [],
        "customizationService": {},
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "maxNumberOfWebWorkers": 3,
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "investigationalUseDialog": {"option": "never"},
        "showErrorDetails": "production",
        **({"defaultDataSourceName": sources[0].name} if sources else {}),
        "dataSources": [_data_source(source, prefix) for source in sources],
    }
    places = ", ".join(json.dumps(prefix + path if path else None) for path in (ended, login))
    return f"window.config = {json.dumps(document, indent=1)};\n{_session_script()}followSession({places});\n"


def leaving(place: str) -> str:
    """The text of `app-config.js` for a caller without a login: the page goes to `place`, a URL of this service."""
    return (
        "window.config = {};\n"
        f"window.location.replace({json.dumps(place)} + "
        '"?next=" + encodeURIComponent(window.location.pathname + window.location.search));\n'
    )


def _data_source(source: DataSource, prefix: str) -> dict[str, Any]:
    root = prefix + source.path
    return {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": source.name,
        "configuration": {
            "friendlyName": source.title,
            "name": source.name,
            "qidoRoot": root,
            "wadoRoot": root,
            "wadoUriRoot": f"{root}/wado",
            "qidoSupportsIncludeField": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "omitQuotationForMultipartRequest": True,
            "singlepart": "bulkdata,video,pdf",
            "bulkDataURI": {"enabled": True},
            "dicomUploadEnabled": source.stores,
        },
    }


@cache
def _session_script() -> str:
    return _SESSION_SCRIPT.read_text(encoding="utf-8")
