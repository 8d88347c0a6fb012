"""Which build is running: the same sources, compiled by mypyc or interpreted (`setup.py`, docs/deploy.md)."""

from typing import Final

BUILD: Final = "interpreted" if __file__.endswith(".py") else "compiled"
"""This module is compiled if the others are."""
