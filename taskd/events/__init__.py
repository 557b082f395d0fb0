"""Events over the broker: a dispatcher that sends, a receiver that reads, and the picture they make.

Start reading at ``dispatcher.py``, which workers run; ``receiver.py`` and ``state.py`` are what
``taskctl events`` and Gossip are made of, and ``election.py`` decides for Gossip.

May import: ``base``, ``protocol``, ``brokers``.
"""
