"""The output of programs: captured, limited, remembered, and passed on.

One pipe for each process, for both streams, so that their order is kept.  ``capture`` reads it into the
program's ``channel``.  That cuts it into lines (``lines``), limits them (``allowance``), keeps the last ones
(``ring``) and hands them to a *sink*.  A sink is the ``journal``, rotated files (``files``, written by a
process of its own, ``writer``), or the daemon's own standard error (``passthrough``).

No sink ever blocks.  A line that a sink does not take in time waits in a bounded ``backlog``.  A line that
does not fit there is dropped and counted, and a note says so as soon as the sink takes lines again.

Start reading at ``capture.py``, then ``channel.py``.
"""
