"""What a model process was asked, and so what it may answer: no result is of a study that it did not begin with."""

from __future__ import annotations

from node.infer.messages import Order, OrderKind, Reply, ReplyKind

#: A study ends so where there is no result.
_REFUSALS = frozenset({ReplyKind.UNSUITABLE, ReplyKind.FAILED, ReplyKind.TRANSIENT})


class Asked:
    """The jobs of one process, each where it stands by what the process has said."""

    def __init__(self) -> None:
        self._prepared: set[str] = set()
        self._wanted: set[str] = set()
        #: In the network, each in the midst of the one before.
        self._begun: list[str] = []
        self._computed: set[str] = set()
        self._pauses = 0

    @property
    def owed(self) -> frozenset[str]:
        """The jobs of which the last reply is owed."""
        return frozenset((*self._prepared, *self._wanted, *self._begun, *self._computed))

    def ask(self, order: Order) -> None:
        """Note what it is told to do."""
        if order.kind is OrderKind.PREPARE and order.job is not None:
            self._prepared.add(order.job.id)
        elif order.kind is OrderKind.GO:
            self._prepared.difference_update((order.id, *order.company))
            self._wanted.update((order.id, *order.company))
        elif order.kind is OrderKind.PAUSE:
            self._pauses += 1

    def fits(self, reply: Reply) -> bool:
        """Whether it may say this now; noted if it may. A result is that of the study that was begun last."""
        if reply.kind is ReplyKind.PAUSED:
            self._pauses -= 1
            return self._pauses >= 0
        if reply.kind is ReplyKind.STARTED and reply.id in self._wanted:
            self._wanted.remove(reply.id)
            self._begun.append(reply.id)
        elif reply.kind is ReplyKind.COMPUTED and self._computes(reply.id):
            self._computed.add(self._begun.pop())
        elif reply.kind in _REFUSALS and self._computes(reply.id):
            self._begun.pop()
        elif reply.kind in {ReplyKind.DONE, *_REFUSALS} and reply.id in self._computed:
            self._computed.remove(reply.id)
        else:
            return False
        return True

    def _computes(self, job_id: str) -> bool:
        return self._begun[-1:] == [job_id]
