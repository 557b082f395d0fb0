"""``taskctl store``: the formats and the room of what taskd keeps, whatever keeps it.

``durable`` lists the stores of a configuration by the records of their kinds; ``command`` has the verbs.
"""
