"""Task code that does not import, for the test that says what happens then."""

raise RuntimeError("the shelf is empty")
