"""The inner blueprint: from a broker's messages to a pool's jobs, and from outcomes to settlements.

Connection, Events, Heart, Mingle, Gossip, Tasks, Control, Evloop; restarted as a whole when the broker is
lost, while the pool and what runs in it live on.  Start reading at ``consumer.py`` (the steps), then
``claiming/intaking.py`` (claim, decide, submit) and ``running/outcomes.py`` (outcome to settlement).

Rooms, from the ground up: ``settling`` (back to the broker), ``running`` (what the pool holds), and
``claiming`` (from the broker to the pool).  Above them are ``neighbours`` (events, and the workers that share
the broker) and ``commands`` (remote control).

May import: ``base``, ``host``, ``config``, ``protocol``, ``brokers``, ``results``, ``revocations``,
``pools``, ``sending``, ``events``, ``control``.
"""
