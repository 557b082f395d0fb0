"""From a call to its result: options, the message, connections, the handle of the sender.

What the app, beat, consumer and ``taskctl`` share.  May import: ``base``, ``host``, ``config``, ``protocol``,
``storage``, ``brokers``, ``results``, ``revocations``.
"""
