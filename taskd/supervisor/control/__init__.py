"""The control socket: who may ask what, and the answers.

``server`` frames and limits JSON-RPC 2.0, ``peers`` asks the kernel who is there, ``access`` decides by one
table of roles (pure), ``audit`` notes it.  ``methods`` and ``records`` answer, and ``client`` is the other
end, for taskctl.  ``socket_lock`` keeps two daemons apart, ``state_file`` outlives the daemon.  Start reading
at ``methods.py``.
"""
