"""URIs that name sources and sinks: ``scheme:path``, ``scheme://[host]:port/path?query``, or a bare path.

The two forms of a scheme are two things: ``dicom:folder`` reads files, ``dicom://:11112`` would listen. In a
set of known schemes the first is written ``dicom``, the second ``dicom://``. An empty host is 127.0.0.1;
``0.0.0.0``, every interface, has to be written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from lvedge.errors import UsageError

LOCALHOST = "127.0.0.1"
DEFAULT_PORTS: Mapping[str, int] = {"dicom": 11112, "store": 11112, "mrd": 9002, "http": 8081, "web": 8080}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::([0-9]{1,5})?)?")


@dataclass(frozen=True)
class Uri:
    """A parsed URI.

    Args:
        scheme: lower case; empty for a bare path, which is recognised by its content.
        path: what follows the scheme; for a network URI what follows host and port, with its leading slash.
        host: host name or address for a network URI, None otherwise.
        port: port for a network URI, None otherwise.
        query: the options after ``?`` of a network URI; the last one of a name counts.
    """

    scheme: str
    path: str = ""
    host: str | None = None
    port: int | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name in a set of known schemes: ``dicom`` for ``dicom:path``, ``dicom://`` for ``dicom://:11112``."""
        return self.scheme if self.host is None else f"{self.scheme}://"

    def __str__(self) -> str:
        if not self.scheme:
            return self.path
        if self.host is None:
            return f"{self.scheme}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.scheme}://{host}:{self.port}{quote(self.path)}{query}"


def parse_uri(text: str, known: Collection[str], what: str = "source") -> Uri:
    """What a URI says, or a bare path as a ``Uri`` without scheme.

    Args:
        text: the URI; ``./`` before a file name that holds a colon makes it a path.
        known: the schemes that exist, ``name`` for ``name:path`` and ``name://`` for ``name://host:port``.
        what: "source" or "sink", for messages.

    Raises:
        UsageError: for an empty text, an unknown scheme, or a host or port that cannot be one.
    """
    if not text:
        raise UsageError(f"an empty {what}: give one of {_listed(known)} or a path")
    if "\0" in text:
        raise UsageError(f"{text!r}: a {what} cannot hold a NUL character")
    found = _SCHEME.fullmatch(text)
    if found is None:
        return Uri(scheme="", path=text)
    scheme, rest = found.group(1).lower(), found.group(2)
    if rest.startswith("//") and (f"{scheme}://" in known or scheme not in known):
        return _network_uri(text, scheme, rest[2:], known, what)
    if scheme in known:
        if rest.startswith("//"):
            raise UsageError(f"{text!r}: {scheme}: takes a path and no host; write {scheme}:/folder/file")
        return Uri(scheme=scheme, path=rest)
    if f"{scheme}://" in known:
        raise UsageError(f"{text!r}: {scheme}:// takes a host and a port; write {scheme}://host:port")
    raise _unknown(text, scheme, known, what)


def _network_uri(text: str, scheme: str, rest: str, known: Collection[str], what: str) -> Uri:
    if f"{scheme}://" not in known:
        raise _unknown(text, f"{scheme}://", known, what)
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise UsageError(f"{text!r}: {authority!r} is no host and port; write {scheme}://host:port")
    host = found.group(1).strip("[]").lower() or LOCALHOST
    port = int(found.group(2)) if found.group(2) else DEFAULT_PORTS.get(scheme)
    if port is None:
        raise UsageError(f"{text!r}: {scheme}:// has no default port; write {scheme}://host:port")
    if port > 65535:
        raise UsageError(f"{text!r}: {port} is no port; the highest is 65535")
    options = dict(parse_qsl(query, keep_blank_values=True))
    return Uri(scheme=scheme, path=slash + unquote(path), host=host, port=port, query=options)


def _unknown(text: str, scheme: str, known: Collection[str], what: str) -> UsageError:
    name = scheme if scheme.endswith("://") else f"{scheme}:"
    return UsageError(
        f"{text!r}: unknown {what} {name} (known: {_listed(known)}); for a file of that name write ./{text}"
    )


def _listed(known: Collection[str]) -> str:
    return ", ".join(name if name.endswith("://") else f"{name}:" for name in known)
