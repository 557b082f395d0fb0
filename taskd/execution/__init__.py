"""The inside of a pool slot: runs one task, and turns every way it can end into a reply.

May import: every room below rank 5; never the consumer, which runs in the worker's parent.
"""
