"""Who may talk to the server: a token where others can reach it, no foreign pages, no scripts but the page's own."""

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "seekloop_token"
HEADER = "x-seekloop"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests that do not come from the page, as the outermost layer of the server.

    A page of another site cannot send the header that changes need, nor reach the server under a name of its own: the
    name has to be one that this server goes by.

    Args:
        app: behind it.
        hosts: names that the server goes by, without ports; empty: any, if there is a token.
        token: that every request needs, in `?token=` once and in a cookie from then on; empty: none.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        self.app, self.hosts, self.token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        refusal = self._refusal(scope["method"], headers, given)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._secure(MutableHeaders(scope=message), keep=bool(given) and refusal is None)
            await send(message)

        if refusal is not None:
            status, why = refusal
            await JSONResponse({"detail": why}, status)(scope, receive, secured)
        elif self.token and given and scope["path"] == "/":
            await RedirectResponse("/", 303)(scope, receive, secured)  # the token leaves the address bar
        else:
            await self.app(scope, receive, secured)

    def _secure(self, sent: MutableHeaders, *, keep: bool) -> None:
        """Add the headers that keep foreign scripts out, and the cookie with the token, if it is to be kept."""
        for name, value in HEADERS.items():
            sent.setdefault(name, value)
        if self.token and keep:
            cookie = f"{COOKIE}={quote(self.token, safe='')}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
            sent.append("Set-Cookie", cookie)

    def _refusal(self, method: str, headers: Headers, given: str) -> tuple[int, str] | None:
        """Status and reason of a request that is refused; None where it is not."""
        host = _name(headers.get("host", ""))
        if self.hosts and host not in self.hosts:
            return 421, "this server does not go by that name; open the address that the terminal shows"
        if method not in SAFE_METHODS and HEADER not in headers:
            return 403, "changes need the header X-Seekloop: 1, so that pages of other sites cannot make them"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
            return 403, "this page is of another site"
        if self.token and not self._knows(headers, given):
            return 401, "open the address that the terminal shows, with its token"
        return None

    def _knows(self, headers: Headers, given: str) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        morsel = cookies.get(COOKIE)
        kept, bearer = "" if morsel is None else unquote(morsel.value), headers.get("authorization", "")
        said = (given, kept, bearer.removeprefix("Bearer "))
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in said if one)


def _name(host: str) -> str:
    """A host without its port.

    Example:
        >>> _name("localhost:8000"), _name("[::1]:8000")
        ('localhost', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
