"""Tests of taskd; CONTRIBUTING.md says what belongs in which tier."""
