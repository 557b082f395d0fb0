"""How processes ended: the certificate of one death, which deaths are alike, and the register of all.

Start reading at ``certificate.py``.
"""
