"""Every transport that kombu has, behind the seams of ``brokers``.

Most transports have to be asked for messages (``pulled``); RabbitMQ, which pushes them, has a room of its own
above this one, ``amqp``.  Start reading at ``intake.py``; ``docs/rabbitmq.md`` says what is promised.
"""
