"""What is revoked: what one process knows of it, and where it is kept for the workers that start later.

Written by whoever revokes (a worker that is told, a client, taskctl), read by every worker.  May import
ranks 0 and 1.
"""
