"""Decides when not to believe that a consumer consumes. Pure.

Client and broker have both had faults that leave an open consumer which gets nothing.
"""

MISTRUST_SECONDS = 60.0


def mistrusted(quiet_seconds: float, ready: int) -> bool:
    """True: build a new session, for work is ready, the consumer is idle, and nothing comes.

    `quiet_seconds`: how long an open, idle consumer has got nothing. `ready`: messages ready in
    its queue.
    """
    return ready > 0 and quiet_seconds >= MISTRUST_SECONDS
