"""Evaluation: held-out subjects measured as a user gets them, and the figures that come of it.

What is scored: stills (``still``), stills within a beat (``warm``), york's beats (``beat``), versions of one
slice (``retest``), pictures without an LV (``refusal``), whole stacks (``volume``), other sources
(``other``), LVQuan18 (``lvquan``). Who is scored by what: ``fold``. Figures: ``figure``, ``still_figure``,
``beat_figure``; shown by ``table`` and ``plot``; the command: ``cli``.
"""

from __future__ import annotations
