"""From a call to its result: options, the message, connections, the handle of the sender.

The app, beat, the consumer and ``taskctl`` share it.  Start reading at ``send.py``.

May import: ``base``, ``config``, ``protocol``, ``brokers``, ``results``, ``revocations``.
"""
