"""What programs write to standard output and error: captured, limited, remembered, and passed on.

One pipe for each process, for both streams, so that their order is kept.  ``capture`` reads it into
the program's ``channel``, which cuts it into lines (``lines``), limits them (``allowance``), keeps the
last ones (``ring``) and hands them to a *sink*: the ``journal``, rotated files (``files``, written by a
process of its own, ``writer``), or the daemon's own standard error (``passthrough``).

No sink ever blocks.  What a sink does not take in time waits in a bounded ``backlog``; what does not
fit there is dropped, counted, and said as soon as something can be said again.

Start reading at ``capture.py``, then ``channel.py``.
"""
