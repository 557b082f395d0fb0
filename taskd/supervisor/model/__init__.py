"""Decisions of the supervisor, all pure: the time is an argument, and nothing is touched.

``machine`` has the states of a program and the effects of each event, ``restart`` when it may start again,
``stopping`` how long each step of a stop lasts.  ``waiting`` says who waits for whom, ``roster`` which
programs a configuration wants, ``plan`` and ``rolling`` the way from one configuration to the next.
``signals`` has the meaning of each signal, ``ending`` when the daemon may end.
"""
