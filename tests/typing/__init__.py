"""Files that mypy checks, and the test that runs it."""
