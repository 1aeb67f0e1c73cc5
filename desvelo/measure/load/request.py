"""What is sent: requests as the target's adapter gives them, and as bytes on a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One request, and what it ought to leave behind.

    ``key`` names what it stores, and is empty when nothing can be looked up afterwards; several
    requests with one key are deliveries of the same thing, which is to be stored once.
    ``valid`` is False for what a correct server refuses, and stores nothing of.
    """

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go: the parts of a URL without a path to a resource."""

    host: str
    port: int
    secure: bool
    prefix: str
    """What stands before every path, without a slash at the end."""

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        >>> Address.of("http://127.0.0.1:8000/vigia/")
        Address(host='127.0.0.1', port=8000, secure=False, prefix='/vigia')
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return cls(parts.hostname or "", port, secure, parts.path.rstrip("/"))

    def on_the_wire(self, request: WebhookRequest) -> bytes:
        r"""Return the bytes of a request.

        >>> Address.of("http://[::1]:80").on_the_wire(WebhookRequest("GET", "/health", b""))
        b'GET /health HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 0\r\n\r\n'
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        more = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        return (
            f"{request.method} {self.prefix}{request.path} HTTP/1.1\r\n"
            f"Host: {host}:{self.port}\r\n{more}"
            f"Content-Length: {len(request.body)}\r\n\r\n"
        ).encode() + request.body
