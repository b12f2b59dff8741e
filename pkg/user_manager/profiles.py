"""What users say of themselves, and what a provider says of them."""

import re
import unicodedata
from typing import Final

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.types import ProviderProfile
from pkg.user_manager.providers import LOCAL, ProviderIdentity

MAX_EMAIL_CHARACTERS: Final = 254
MAX_DISPLAY_NAME_CHARACTERS: Final = 255
MAX_SUBJECT_CHARACTERS: Final = 255

_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
#: ZWNJ and ZWJ show nothing themselves, but Persian names and emoji are spelt with them.
_JOINERS: Final = "\u200c\u200d"


def check_email(email: str) -> str:
    """A sanity check: whether it is somebody's, only a message to it would tell.

    Raises:
        InvalidArgument: ``invalid_email``.
    """
    email = email.strip()
    if email and not _is_email(email):
        raise InvalidArgument(
            f"Email must be an address like name@example.org, of at most {MAX_EMAIL_CHARACTERS} characters;"
            " or leave it out",
            code="invalid_email",
        )
    return email


def check_display_name(display_name: str) -> str:
    """
    Raises:
        InvalidArgument: ``invalid_display_name``.
    """
    display_name = unicodedata.normalize("NFC", display_name).strip()
    if len(display_name) > MAX_DISPLAY_NAME_CHARACTERS or not is_shown(display_name):
        raise InvalidArgument(
            f"DisplayName must have at most {MAX_DISPLAY_NAME_CHARACTERS} characters, none of them a control character"
            " or one that changes the direction of text; or leave it out",
            code="invalid_display_name",
        )
    return display_name


def check_identity(profile: ProviderProfile) -> ProviderIdentity:
    """
    Raises:
        InvalidArgument: no user can be keyed on it (``invalid_profile``).
    """
    subject = profile.subject
    if (
        not _PROVIDER.fullmatch(profile.provider)
        or profile.provider == LOCAL
        or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS
        or not subject.isprintable()
    ):
        raise InvalidArgument(
            f"Provider must be a word in lower case other than {LOCAL}, Subject its id of the user, of 1 to"
            f" {MAX_SUBJECT_CHARACTERS} characters",
            code="invalid_profile",
        )
    return ProviderIdentity(profile.provider, subject)


def email_from(profile: ProviderProfile) -> str:
    """Empty if it is none that a user could have given."""
    email = profile.email.strip()
    return email if _is_email(email) else ""


def display_name_from(profile: ProviderProfile) -> str:
    """What of it can be shown."""
    shown = "".join(filter(is_shown, profile.display_name[: 2 * MAX_DISPLAY_NAME_CHARACTERS]))
    return unicodedata.normalize("NFC", shown).strip()[:MAX_DISPLAY_NAME_CHARACTERS].rstrip()


def is_shown(text: str) -> bool:
    """Whether it has neither control characters nor such as make text look like another (bidirectional overrides)."""
    return all(map(_is_shown, text))


def _is_email(text: str) -> bool:
    return len(text) <= MAX_EMAIL_CHARACTERS and text.isprintable() and _EMAIL.fullmatch(text) is not None


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
