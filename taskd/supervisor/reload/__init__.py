"""Reads the file again and aims the fleet at it.

The decisions stand in ``model.plan`` and ``model.rolling``.  Start reading at ``reload.py``.
"""
