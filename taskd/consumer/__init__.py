"""The inner blueprint: from a broker's messages to a pool's jobs, and from outcomes to settlements.

Connection, Events, Heart, Mingle, Gossip, Tasks, Control, Evloop; restarted as a whole when the broker is
lost, while the pool and what runs in it live on.  Start reading at ``consumer.py`` (the steps), then
``intaking.py`` (claim, decide, submit) and ``settling.py`` (outcome to settlement and result).
``strategy.py``, ``prefetch.py``, ``rates.py`` and ``deaths.py`` decide and touch nothing.

Rooms: ``commands`` (remote control), ``neighbours`` (events, and the workers that share the broker).

May import: ``base``, ``host``, ``config``, ``protocol``, ``brokers``, ``results``, ``revocations``,
``pools``, ``sending``, ``events``, ``control``.
"""
