"""A broker, a pool and a verb of taskctl that taskd does not know."""
