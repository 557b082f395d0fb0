"""The outer blueprint: one worker program, from its first line to its exit status.

Timer, Hub, Pool, Queues, Autoscaler, StateDB, Report, Consumer.  May import ranks 0 to 5.  Start
reading at ``__main__.py`` (the program), then ``steps.py``; ``execute.py`` is what runs one task,
in whatever process the pool runs it, and ``template.py`` the program whose forks the prefork pool
uses.
"""
