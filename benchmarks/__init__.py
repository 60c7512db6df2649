"""Protocols and scripts that measure lvedge, run from the checkout; no part of the package."""
