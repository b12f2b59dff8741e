"""Every code that the public API answers with, its status, and what it means.

A code is stable: programs may act on it. The words beside it are for people and may change.
"""

from typing import Final, NamedTuple


class ErrorCode(NamedTuple):
    status: int
    code: str
    #: For the documentation; ends with a full stop.
    meaning: str


# --- what any operation can give ------------------------------------------------------------------------------------

ARGUMENT_ERRORS: Final = (
    ErrorCode(400, "conflicting_argument", "The same argument was given twice, with different values."),
    ErrorCode(400, "invalid_argument", "An argument or a header is of the wrong type or form; the words name it."),
    ErrorCode(400, "invalid_text", "A text has a NUL or half a character in it."),
    ErrorCode(400, "malformed_form", "The form in the body cannot be read."),
    ErrorCode(400, "malformed_json", "The body is no JSON object, not UTF-8, or nested too deep."),
    ErrorCode(400, "malformed_path", "The path is not percent-encoded UTF-8."),
    ErrorCode(400, "malformed_query", "The query string is not percent-encoded UTF-8."),
    ErrorCode(400, "too_many_arguments", "More than 100 arguments in one place."),
    ErrorCode(400, "unknown_argument", "There is no such argument; the words list those that there are."),
)
MISSING_ARGUMENT: Final = ErrorCode(400, "missing_argument", "A required argument was not given, or is empty.")
UNSUPPORTED_MEDIA: Final = ErrorCode(
    415, "unsupported_media_type", "The body is neither JSON nor a form; its Content-Type says so."
)
INSUFFICIENT_SCOPE: Final = ErrorCode(
    403, "insufficient_scope", "The token is not good for this; the words name the scope that it lacks."
)
#: Of what changes something, for browsers that send a cookie.
CROSS_SITE_ERRORS: Final = (
    ErrorCode(403, "cross_site_request", "With a cookie: the browser says that another site asked."),
    ErrorCode(403, "csrf_token_mismatch", "With a cookie: X-CSRF-Token does not hold the token of the session."),
)
MISSING_TOKEN: Final = ErrorCode(401, "missing_token", "No token was sent.")
INVALID_TOKEN: Final = ErrorCode(401, "invalid_token", "The token is unknown, expired or revoked.")
COMMON_ERRORS: Final = (
    *ARGUMENT_ERRORS,
    MISSING_TOKEN,
    INVALID_TOKEN,
    ErrorCode(408, "body_too_slow", "The body did not arrive in time; send it faster, or less at once."),
    ErrorCode(413, "body_too_large", "The body is larger than the operation takes."),
    ErrorCode(414, "url_too_long", "The request's own URL is too long; send arguments in the body."),
    ErrorCode(429, "rate_limited", "Too many requests; Retry-After says when to try again, RateLimit what is left."),
    ErrorCode(431, "headers_too_large", "There are too many headers, or they are too large."),
    ErrorCode(500, "internal", "Something went wrong on our side."),
    ErrorCode(500, "bad_upstream_reply", "A service behind the API gave an answer that cannot be read."),
    ErrorCode(500, "upstream_refused", "A service behind the API did not let the API in."),
    ErrorCode(503, "overloaded", "Too many requests at once; Retry-After says when to try again."),
    ErrorCode(503, "shutting_down", "This process is being stopped; try again."),
    ErrorCode(503, "user_manager_unavailable", "The user service cannot be reached."),
    ErrorCode(503, "database_unavailable", "A database cannot be reached."),
    ErrorCode(503, "try_again", "Another change came in between; try again."),
    ErrorCode(504, "deadline_exceeded", "It took too long. A change may or may not have happened."),
    ErrorCode(504, "query_too_slow", "The database needed too long; narrow the question."),
)

# --- what some can give ---------------------------------------------------------------------------------------------

LINKS_AWAY: Final = ErrorCode(503, "link_manager_unavailable", "The link service cannot be reached.")
GRAPH_AWAY: Final = ErrorCode(503, "social_graph_manager_unavailable", "The social graph service cannot be reached.")
NEWS_AWAY: Final = (
    ErrorCode(503, "news_manager_unavailable", "The news service cannot be reached."),
    ErrorCode(503, "news_store_unavailable", "The store of news cannot be reached."),
    # Where a feed is made of what they know.
    LINKS_AWAY,
    GRAPH_AWAY,
    ErrorCode(503, "feed_being_built", "Your news are being gathered, after a long time or a loss; try again shortly."),
)
USER_NOT_FOUND: Final = ErrorCode(404, "user_not_found", "There is no such user, or one of you has blocked the other.")

TAG_TOO_LONG: Final = ErrorCode(400, "tag_too_long", "A tag is longer than 255 characters.")
PAGE_ERRORS: Final = (
    ErrorCode(400, "invalid_limit", "limit must be between 1 and 200."),
    ErrorCode(400, "invalid_start_token", "The token is damaged, or belongs to a list with other filters."),
)
INVALID_SINCE: Final = ErrorCode(400, "invalid_since", "since is no Id of an entry.")
TOO_MANY_STREAMS: Final = ErrorCode(
    429, "too_many_streams", "You have as many streams open as one may have; close one."
)
FILTER_ERRORS: Final = (
    *PAGE_ERRORS,
    TAG_TOO_LONG,
    ErrorCode(400, "invalid_regex", "The regular expression cannot be read, or uses what is not supported anywhere."),
    ErrorCode(400, "regex_too_complex", "The regular expression would take too long."),
    ErrorCode(400, "regex_too_long", "The regular expression is too long."),
    ErrorCode(400, "unsupported_regex", "The regular expression uses what is not supported here."),
    ErrorCode(400, "invalid_search", "q is too long, has too many words, or none."),
)
URL_ERRORS: Final = (
    ErrorCode(400, "invalid_url", "The link's URL cannot be read."),
    ErrorCode(400, "unsupported_scheme", "The link's URL begins neither with http:// nor with https://."),
    ErrorCode(400, "url_too_long", "The link's URL is longer than 2,048 characters."),
    ErrorCode(400, "url_with_credentials", "The link's URL has a user name or password in it."),
)
LINK_ERRORS: Final = (
    *URL_ERRORS,
    ErrorCode(400, "title_too_long", "The title is longer than 1,024 characters."),
    ErrorCode(400, "description_too_long", "The description is longer than 65,536 characters."),
    TAG_TOO_LONG,
    ErrorCode(400, "invalid_tag", "A tag has a comma or a control character in it."),
    ErrorCode(400, "too_many_tags", "More than 100 tags."),
)
INVALID_TICKET: Final = ErrorCode(
    401, "invalid_ticket", "The user name or the ticket is wrong, or the ticket was used or is too old."
)
NOT_A_SESSION: Final = ErrorCode(400, "not_a_session", "The token is an API token, which is revoked, not logged out.")
IDEMPOTENCY_KEY_REUSED: Final = ErrorCode(
    409, "idempotency_key_reused", "The Idempotency-Key was used for something else within the last day."
)
ADD_ERRORS: Final = (
    *LINK_ERRORS,
    ErrorCode(409, "link_exists", "You have saved this URL already; change it with PUT."),
    ErrorCode(409, "link_limit_reached", "You have as many links as a user may have."),
    IDEMPOTENCY_KEY_REUSED,
)
LINK_NOT_FOUND: Final = ErrorCode(404, "link_not_found", "You have no link with this URL.")
VERSION_MISMATCH: Final = ErrorCode(
    412, "version_mismatch", "The link is at another version than If-Match says; read it again."
)
UPDATE_ERRORS: Final = (*LINK_ERRORS, LINK_NOT_FOUND, VERSION_MISMATCH)
MOVE_ERRORS: Final = (
    *URL_ERRORS,
    ErrorCode(400, "description_too_long", "With that of the link that is there, the description would be too long."),
    ErrorCode(400, "too_many_tags", "With those of the link that is there, there would be more than 100 tags."),
    LINK_NOT_FOUND,
    ErrorCode(409, "link_not_moved", "The page has no new address, or none that can be saved."),
    IDEMPOTENCY_KEY_REUSED,
    VERSION_MISMATCH,
)
IMPORT_ERRORS: Final = (
    ErrorCode(400, "not_a_bookmark_file", "The file is no bookmarks file, or is empty."),
    ErrorCode(413, "too_many_bookmarks", "The file has too many bookmarks; split it."),
    IDEMPOTENCY_KEY_REUSED,
)
WHOLE_MAP_ERRORS: Final = (
    *PAGE_ERRORS,
    ErrorCode(400, "limit_required", "There are more than 10,000: ask page by page, with limit."),
)
FOLLOW_ERRORS: Final = (
    ErrorCode(400, "cannot_follow_yourself", "Nobody follows themselves."),
    USER_NOT_FOUND,
    ErrorCode(409, "user_blocked", "You have blocked this user; unblock them first."),
)
FOLLOW_REQUEST_NOT_FOUND: Final = ErrorCode(
    404, "follow_request_not_found", "This user does not ask to follow you, or does no longer."
)
BLOCK_ERRORS: Final = (
    ErrorCode(400, "cannot_block_yourself", "Nobody blocks themselves."),
    USER_NOT_FOUND,
)
PROFILE_ERRORS: Final = (
    ErrorCode(400, "invalid_display_name", "The name to show is too long, or has control characters in it."),
    ErrorCode(400, "invalid_email", "The e-mail is no address, or too long."),
    ErrorCode(400, "nothing_to_change", "No argument was sent."),
)
TOKEN_ERRORS: Final = (
    ErrorCode(400, "invalid_token_name", "The token's name is empty, too long, or has control characters in it."),
    ErrorCode(400, "invalid_scopes", "No scope was named, or one that there is not."),
    ErrorCode(400, "invalid_expiry", "expires_in_days must be between 1 and 366."),
    ErrorCode(409, "token_name_taken", "You have a token of that name."),
    ErrorCode(409, "token_limit_reached", "You have as many tokens as a user may have; revoke one."),
)
TOKEN_NOT_FOUND: Final = ErrorCode(404, "token_not_found", "You have no such token, or have it no longer.")
SESSION_NOT_FOUND: Final = ErrorCode(404, "session_not_found", "You have no such session, or have it no longer.")
ACCOUNT_GONE: Final = ErrorCode(404, "user_not_found", "Your account is gone.")
NOT_CONFIRMED: Final = ErrorCode(400, "not_confirmed", "confirm is not your user name.")
