"""The stream of dead letters, for somebody to look at and to send them again."""

import base64
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from pkg.events.dead_letters import HEADER_PREFIX, DeadLetter
from pkg.events.messages import DEAD_LETTER_STREAM, DEAD_LETTERS, DEDUPLICATION_HEADER, Message
from pkg.events.nats_bus import NatsBus
from pkg.object_model.errors import InvalidArgument, NotFound


class DeadLetterBox:
    """The bus must be of somebody who may read and change the stream of dead letters.

    Raises, everywhere:
        Unavailable: NATS is away, or there is no such stream.
    """

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus

    async def find(self, consumer: str | None = None, since: datetime | None = None) -> AsyncIterator[DeadLetter]:
        """The letters that are there now, oldest first; of one consumer, if named."""
        state = (await self._bus.ask(f"STREAM.INFO.{DEAD_LETTER_STREAM}"))["state"]
        # Not those that come meanwhile: what is sent again may die again at once.
        last, following = state["last_seq"], state["first_seq"]
        subject = f"{DEAD_LETTERS}.{consumer or '>'}"
        while following <= last:
            try:
                letter = await self._get({"seq": following, "next_by_subj": subject})
            except NotFound:
                return
            if letter.id > last:
                return
            following = letter.id + 1
            if since is None or letter.time >= since:
                yield letter

    async def get(self, letter_id: int) -> DeadLetter:
        """
        Raises:
            NotFound: there is none with this id (``no_such_dead_letter``).
        """
        try:
            return await self._get({"seq": letter_id})
        except NotFound:
            raise NotFound(
                f"there is no dead letter {letter_id}; list those that there are", code="no_such_dead_letter"
            ) from None

    async def send_again(self, letter: DeadLetter) -> None:
        """Publishes the event where it was, for all who hear it there, and removes the letter.

        Raises:
            InvalidArgument: it does not say where it was (``no_subject``).
        """
        if not letter.subject:
            raise InvalidArgument(
                f"dead letter {letter.id} does not say which subject it came from; it can only be dropped",
                code="no_subject",
            )
        headers = {name: value for name, value in letter.headers.items() if not name.startswith(HEADER_PREFIX)}
        # Of its own: the event's is still known from the first time.
        headers[DEDUPLICATION_HEADER] = f"{DEAD_LETTERS}.{letter.id}"
        message = Message(
            id=letter.event_id,
            source=letter.headers.get("ce-source", ""),
            type=letter.type,
            subject=letter.subject,
            time=letter.time,
            body=letter.body,
            extra_headers=headers,
        )
        await self._bus.publish([message])
        await self.drop(letter)

    async def drop(self, letter: DeadLetter) -> None:
        await self._bus.ask(f"STREAM.MSG.DELETE.{DEAD_LETTER_STREAM}", {"seq": letter.id, "no_erase": True})

    async def _get(self, which: Mapping[str, object]) -> DeadLetter:
        kept: dict[str, Any] = (await self._bus.ask(f"STREAM.MSG.GET.{DEAD_LETTER_STREAM}", which))["message"]
        return DeadLetter(
            id=kept["seq"],
            time=datetime.fromisoformat(kept["time"]),
            headers=_read_headers(base64.b64decode(kept.get("hdrs", ""))),
            body=base64.b64decode(kept.get("data", "")),
        )


def _read_headers(raw: bytes) -> dict[str, str]:
    """Of ``NATS/1.0`` and a line each."""
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    parts = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in parts}
