"""A run as a service: what systemd, ``/health``, ``/metrics`` and the log are told of it.

cli ──item──▶ service ──▶ meter      counts and times what is measured
              │           pulse      the loop turns: the watchdog is fed
              │           health     what is wrong, in words
              └─ page     /health and /metrics over HTTP
"""
