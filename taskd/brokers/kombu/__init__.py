"""RabbitMQ, and every other transport that kombu has, behind the seams of ``brokers``.

RabbitMQ pushes messages, the others are asked for them; ``source`` hides the difference.  The lease of a
claim is the channel that it came over: when the channel ends, for whatever reason, the server gives its
messages to others.  Start reading at ``intake.py``; ``docs/rabbitmq.md`` says what is promised.
"""
