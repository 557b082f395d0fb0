"""The autoscaler of ``processes``: how many workers of each kind this machine runs, by load.

Pure deciders, which take the time as an argument.  ``demand`` says how many processes one group needs,
``sharing`` what of it the machine's budget allows, ``steadying`` goes up at once and down slowly.  ``choice``
says which process leaves and which one is called back, and ``autoscaler`` puts them together and says why.
``metering`` turns heartbeats into load; ``simulation`` replays a recorded load without any process.

Start reading at ``autoscaler.py``.
"""
