"""Access control of the page: requests need its address and its token."""

import secrets
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Header with the token of a request. Pages of other sites cannot set it.
TOKEN_HEADER = "x-ellipsoid-token"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)


class Guard:
    """Middleware that admits requests with the token of the page.

    The page itself needs the token in its address, and everything below ``/api/`` needs it in a header. The
    style and the scripts contain no data of the run and need no token.

    Parameters
    ----------
    app : ASGI application
        Application to protect.
    token : str
        Expected token.
    hosts : collection of str, optional
        Host names that requests may use; by default any. The check refuses pages of other sites whose name
        points to this machine (DNS rebinding).
    framed : bool
        Whether other pages may show this one in a frame, as notebooks do.
    """

    def __init__(
        self, app: ASGIApp, token: str, *, hosts: Collection[str] | None = None, framed: bool = False
    ):
        self._app, self._token, self._hosts = app, token, hosts
        self._headers = {
            "content-security-policy": _POLICY + ("" if framed else "; frame-ancestors 'none'"),
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._hosts is not None and _host_name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("This page answers only at the address that was printed.\n", 403)
        if path.startswith("/static/"):
            return None
        if path.startswith("/api/"):
            if self._is_token(headers.get(TOKEN_HEADER, "")):
                return None
            return JSONResponse(
                {"error": "token: expected the token of the printed address; got another"}, 403
            )
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if self._is_token(query.get("token", [""])[0]):
            return None
        return PlainTextResponse("This page needs its token: open the whole address that was printed.\n", 403)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self._token.encode())


def _host_name(host: str) -> str | None:
    """Host name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
