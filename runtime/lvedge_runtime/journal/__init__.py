"""What outlives the process: instances that were acknowledged, how far sinks have come, what is to be sent.

database    one SQLite file, every commit flushed to the disk
instance    received files, each with its row, from before the answer until after the delivery
outbox      derived objects on their way to other systems
journal     the folder that holds them, and the one transaction by which a series is delivered
"""
