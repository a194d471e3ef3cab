"""Mutants that compute the same as the real code, each with its reason; see mutants.py."""

EQUIVALENT: dict[str, str] = {}
