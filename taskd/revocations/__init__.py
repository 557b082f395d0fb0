"""Revoked tasks: the list that one process knows, and the store for the workers that start later.

Every way to revoke writes it (a worker that is told, a client, taskctl), and every worker reads it.

May import: ``base``, ``config``, ``protocol``, ``storage``.
"""
