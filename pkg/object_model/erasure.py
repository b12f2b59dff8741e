"""Removing all that is a user's, a bounded part at a time: what the services that hold something have in common."""

from collections.abc import Awaitable, Callable
from typing import Final

from pkg.object_model.paging import decode_page_token, encode_page_token

#: Where to go on, as the store knows it.
type Place = tuple[int, int]
START: Final[Place] = (0, 0)


async def erase_part(erase: Callable[[int, Place], Awaitable[Place | None]], user_id: int, start_token: str) -> str:
    """``UserData.erase_user`` of a store that removes some from a place on, and gives the next, None at the end.

    Raises:
        InvalidArgument: ``invalid_start_token``.
    """
    scope = ("erase", user_id)
    position = decode_page_token(start_token, scope, (int, int))
    place = await erase(user_id, (int(position[0]), int(position[1])) if position else START)
    return encode_page_token(scope, place) if place is not None else ""
