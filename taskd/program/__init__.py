"""The side of a supervised program: its bond with the supervisor that started it.

May import: ``base``, ``host``, ``config``, ``protocol``.
"""
