"""People at the login page of the console, in a browser, and how their sessions end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Page

from app.auth.bearer import new_token
from tests.app.auth.provider import AUDIENCE, Provider
from tests.app.auth.users import write_users

PASSWORD = "geheim"  # noqa: S105 - of tests.app.auth.users


@dataclass(frozen=True)
class Logins:
    """The ways to sign in at one service: `settings` are those of the service, by the way of AUTH."""

    provider: Provider
    token: str
    settings: Mapping[str, Mapping[str, str]]

    @classmethod
    def at(cls, folder: Path, provider: Provider) -> "Logins":
        """Write the files of the service into a folder."""
        token, line = new_token("pacs")
        (folder / "tokens").write_text(line + "\n")
        settings = {
            "basic": {"AUTH_USERS_FILE": str(write_users(folder))},
            "bearer": {"AUTH_TOKENS_FILE": str(folder / "tokens")},
            "oidc": {
                "OIDC_ISSUER": provider.issuer,
                "OIDC_AUDIENCE": AUDIENCE,
                "OIDC_CLIENT_ID": provider.client[0],
                "OIDC_CLIENT_SECRET": str(provider.client[1]),
            },
        }
        return cls(provider, token, settings)

    def of(self, *ways: str) -> dict[str, str]:
        """The settings of a service with these ways."""
        made = {"AUTH": ",".join(ways)}
        for way in ways:
            made |= self.settings[way]
        return made

    def sign_in(self, page: Page, way: str) -> None:
        """Use the login page, which the browser shows."""
        if way == "basic":
            page.get_by_label("Name").fill("anna")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").first.click()
        elif way == "bearer":
            page.get_by_label("Token", exact=True).fill(self.token)
            page.get_by_role("button", name="Sign in").last.click()
        else:
            page.get_by_role("link", name="Sign in at").click()


def sign_out_elsewhere(context: BrowserContext, origin: str) -> None:
    """Sign out in another window."""
    page = context.new_page()
    page.goto(f"{origin}/console/login")
    with page.expect_response("**/console/logout"):
        page.get_by_role("button", name="Sign out").click()
    page.close()


def revoke(context: BrowserContext, origin: str) -> None:
    """End the session at the service, and leave its cookies with the browser."""
    kept = {one["name"]: one["value"] for one in context.cookies()}
    sign_out_elsewhere(context, origin)
    context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in kept.items()])


def forget(context: BrowserContext, _origin: str) -> None:
    """Delete all cookies of the browser."""
    context.clear_cookies()


ENDS: Mapping[str, Callable[[BrowserContext, str], None]] = {
    "signed out": sign_out_elsewhere,
    "revoked": revoke,
    "cookies deleted": forget,
}
