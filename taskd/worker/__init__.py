"""The outer blueprint: one worker program, from its first line to its exit status.

Timer, Hub, Pool, Queues, Autoscaler, StateDB, Report, Consumer.  Start reading at ``__main__.py`` (the
program), then ``steps.py``; ``template.py`` is the program whose forks the prefork pool uses.

May import: ``base``, ``host``, ``config``, ``protocol``, ``storage``, ``brokers``, ``results``,
``revocations``, ``pools``, ``program``, ``sending``, ``app``, ``consumer``, ``execution``.
"""
