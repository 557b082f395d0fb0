"""Remote control over the broker: a node that answers, and a client that asks.

Start reading at ``node.py``, which workers run; ``client.py`` is what taskctl asks with.  The commands stand
in the table ``taskd.protocol.commands``; ``taskd.consumer.commands.table`` has what they do.

May import: ``base``, ``config``, ``protocol``, ``brokers``.
"""
