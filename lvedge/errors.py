"""The errors a user can meet. Each message says what was wrong, where, and what to do about it.

Everything that is not an ``LvedgeError`` is a bug of ours and shows its trace.
"""

from __future__ import annotations


class LvedgeError(Exception):
    """Base of everything that a user can cause and mend; a command prints it as one line and exits with 2."""


class UsageError(LvedgeError):
    """A command line, a URI or a setting that cannot be meant."""


class SourceError(LvedgeError):
    """Input that cannot be read as short-axis frames: an empty folder, a truncated file, a missing tag."""


class SinkError(LvedgeError):
    """A place that results cannot be written to."""


class BundleError(LvedgeError):
    """A bundle that is refused: altered, incomplete, foreign, or for another version."""


class TrustError(BundleError):
    """A bundle that is not taken here: unsigned, signed by others, revoked, too old, not as it was signed."""


class StoreError(LvedgeError):
    """An installed bundle or case table that cannot be read, replaced or restored."""


class JournalError(LvedgeError):
    """A journal that cannot be opened, or that its disk takes nothing into now."""


class EngineError(LvedgeError):
    """An engine that is not available on this machine, or that refused its input."""


class CaseTableError(LvedgeError):
    """A case table that cannot be read, written or trusted."""


class DataError(LvedgeError):
    """A training or evaluation data set that is not what it should be."""


class MissingExtraError(LvedgeError):
    """An optional package is needed for what was asked.

    Args:
        package: the package that could not be imported.
        extra: the extra of lvedge that brings it.
        purpose: what it was needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: pip install 'lvedge[{extra}]'")
        self.package = package
        self.extra = extra
