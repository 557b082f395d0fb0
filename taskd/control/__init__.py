"""Remote control over the broker: a node that answers, and a client that asks.

May import: rank 0, ``config``, ``protocol``, ``brokers``, and kombu (the client only).  Start reading at
``node.py``, which workers run; ``client.py`` is what taskctl asks with.  The commands stand in the
table ``taskd.protocol.commands``; what they do is the worker's: ``taskd.consumer.commands.table``.
"""
