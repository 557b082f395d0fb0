"""The outer blueprint: one worker program, from its first line to its exit status.

Start reading at ``__main__.py`` (the program and the list of its steps), then ``consumer_step.py`` (what runs
and how it ends); ``template.py`` is the program whose forks the prefork pool uses.

May import: ``base``, ``host``, ``config``, ``protocol``, ``storage``, ``brokers``, ``results``,
``revocations``, ``pools``, ``program``, ``sending``, ``app``, ``consumer``, ``execution``.
"""
