"""``store://``: what waits in the outbox goes to other systems, by C-STORE.

destination   where, by URI
association   one association as SCU, within time-outs
backoff       when a failed attempt is repeated
sender        the thread that empties the outbox of one destination
"""
