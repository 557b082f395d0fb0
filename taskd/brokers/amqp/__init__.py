"""RabbitMQ: the broker over kombu, for a server that pushes messages.

py-amqp logs in and makes queues; deliveries are read and messages written without it (``frames``, ``fields``,
``written``, ``wire``).  The lease of a claim is the channel that it came over: when the channel ends, for
whatever reason, the server gives its messages to others.  Start reading at ``broker.py``, then ``pushed.py``;
``docs/rabbitmq.md`` says what is promised.
"""
