"""kombu's clients over taskd's brokers: a transport for the embedded file, and a connection for ``taskctl``.

Workers never load it.  Start reading at ``transport.py``.
"""
