"""The shared memory of beats: entries made at run time, the mark of each entry, decisions, and the lease.

``base.py`` is the seam, ``factory.py`` opens a store by its URL; one implementation a module.  The contract
stands in ``tests/contract/test_beat_store_contract.py``; a line in its table of openers adds another store.
"""
