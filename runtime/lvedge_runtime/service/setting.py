"""What a file of settings says of the service: ``[service]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

from lvedge.errors import UsageError
from lvedge_runtime.config import Config, Faults, check_known, flag_in, number_in, placed

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")


@dataclass(frozen=True)
class ServiceSettings:
    """How a run is watched.

    Args:
        http: serve ``/health`` and ``/metrics``.
        address: where they are served; an address of this machine.
        port: where they are served.
        log_level: the least that is told: debug, info, warning or error.
        log_format: "text", a line each, or "json", an object each.
        deadline_ms: a frame whose result stands later than this after its turn came is late.
        hang_s: a loop that has not turned for so long hangs.
    """

    http: bool = False
    address: str = "127.0.0.1"
    port: int = 9464
    log_level: str = "info"
    log_format: str = "text"
    deadline_ms: float = 40.0
    hang_s: float = 30.0


def service_from_config(config: Config) -> ServiceSettings:
    """What a file says of the service; what it leaves out keeps its default.

    Raises:
        UsageError: if it cannot be meant; all faults at once.
    """
    with placed(config.path):
        return ServiceSettings(**_checked(config.table("service")))


def _checked(table: Mapping[str, Any]) -> dict[str, Any]:
    faults = Faults()
    with faults.noted():
        check_known(table, tuple(f.name for f in fields(ServiceSettings)), "service.")
    if "http" in table:
        with faults.noted():
            flag_in(table["http"], "service.http")
    for name in ("port", "deadline_ms", "hang_s"):
        if name in table:
            with faults.noted():
                number_in(table[name], f"service.{name}", whole=name == "port")
    if "port" in table and isinstance(table["port"], int) and table["port"] > 65535:
        with faults.noted():
            raise UsageError(f"service.port: {table['port']} is no port; the highest is 65535")
    if "address" in table:
        with faults.noted():
            _check_address(table["address"])
    for name, known in (("log_level", LOG_LEVELS), ("log_format", LOG_FORMATS)):
        if name in table and table[name] not in known:
            with faults.noted():
                raise UsageError(f"service.{name}: {table[name]!r} is none of {', '.join(known)}")
    faults.tell()
    return dict(table)


def _check_address(value: Any) -> None:
    try:
        ip_address(value if isinstance(value, str) else "")
    except ValueError as err:
        raise UsageError(f"service.address: {value!r} is none, write 127.0.0.1 or 0.0.0.0") from err
