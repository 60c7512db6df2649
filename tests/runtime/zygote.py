"""Starts ``lvedge-run`` quickly and often: all is imported once, then every start is a fork.

A line of standard input is a job, ``{"args": [...], "said": path}``; the answer is its process's number.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

import highdicom  # noqa: F401
import onnxruntime  # noqa: F401
import rich.live  # noqa: F401

import lvedge_runtime.cli
import lvedge_runtime.delivery
import lvedge_runtime.derived.store
import lvedge_runtime.engines.onnxruntime_cpu
import lvedge_runtime.receiver.source
import lvedge_runtime.stream


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        job = json.loads(line)
        number = os.fork()
        if number == 0:
            run(job["args"], job["said"])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def run(args: list[str], said: str) -> None:
    """Be the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    code = 70
    try:
        code = lvedge_runtime.cli.main(args)
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
