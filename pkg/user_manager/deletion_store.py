"""What the deletion of accounts needs of a store: which are under way, and how far each is."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pkg.object_model.types import AuditEvent


class DeletionStep(StrEnum):
    """In their order. What is before ``SOCIAL_GRAPH`` can be undone."""

    WAITING = "waiting"
    SOCIAL_GRAPH = "social_graph"
    LINKS = "links"
    NEWS = "news"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    user_id: int
    step: DeletionStep
    started_at: datetime
    #: Failures of this step, in a row.
    attempts: int = 0


class DeletionsUnderWay(NamedTuple):
    number: int
    #: When it began.
    oldest: datetime | None


class DeletionStore(Protocol):
    async def begin(self, user_id: int, now: datetime, due_at: datetime, event: AuditEvent) -> bool:
        """Closes the account and ends its sessions, tokens and tickets; one transaction. Whether there is such a user.

        Of an account that is closed already, nothing changes.
        """

    async def undo(self, user_id: int, event: AuditEvent) -> bool:
        """Opens the account again, if its deletion still waits. What has ended stays so."""

    async def move(self, deletion: Deletion, step: DeletionStep) -> Deletion | None:
        """The deletion at its next step; None if it is no longer where it was."""

    async def put_off(self, deletion: Deletion, due_at: datetime, error: str) -> None:
        """Notes a failure, in a word, and when to try again."""

    async def finish(self, user_id: int, now: datetime) -> None:
        """Removes the account and all that hangs on it, and keeps a digest of its name, so that nobody else gets it."""

    async def find_due(self, now: datetime, limit: int) -> Sequence[Deletion]:
        """Those that are to be worked on, the longest due first."""

    async def count(self) -> DeletionsUnderWay: ...

    def work_alone(self) -> AbstractAsyncContextManager[bool]:
        """Whether the block may work: nobody else does, in any process, until it ends."""
