"""Decisions of the supervisor, all pure: the time is an argument, and nothing is touched.

``machine`` has the states of a program and what follows from each event, ``restart`` when it may start again,
``stopping`` how long each step of a stop lasts, ``waiting`` who waits for whom, ``roster`` which programs a
configuration wants, ``plan`` and ``rolling`` the way from one configuration to the next, ``signals`` the
meaning of each signal, ``ending`` when the daemon may end.
"""
