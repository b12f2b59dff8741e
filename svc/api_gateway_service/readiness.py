"""Whether the gateway is fit to be sent requests."""

from pkg.object_model.errors import Unauthenticated
from svc.api_gateway_service.tokens import Authenticator


class ReachedOnce:
    """Holds as soon as the user service has answered once, and for ever after.

    Before that, a gateway with a wrong address or a wrong secret must not replace one that works. After that, nothing
    is gained by calling itself unready because another service is away: every gateway would at the same moment, and
    people would get a bare refusal of the balancer instead of our 503, which names what is away and says when to come
    back; those whose tokens are known, and the documentation, would lose what still works.
    """

    def __init__(self, users: Authenticator) -> None:
        self._users = users
        self._reached = False

    async def check(self) -> None:
        """Raises what the user service or the way to it raises."""
        if self._reached:
            return
        try:
            await self._users.authenticate("")
        except Unauthenticated:
            # It looked, and knows no such token: what else could it say?
            self._reached = True
