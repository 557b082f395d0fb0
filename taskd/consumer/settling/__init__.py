"""Back to the broker and into the result store: settlements, results, chords.  Start at ``settling.py``."""
