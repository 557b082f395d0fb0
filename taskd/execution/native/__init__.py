"""Runs the tasks of taskd's own App."""
