"""What both ends of a gRPC call agree on: keys of the metadata (in lower case) and the bounds of messages, in bytes."""

from typing import Final

REQUEST_ID_KEY: Final = "x-request-id"
TRACEPARENT_KEY: Final = "traceparent"
#: In the trailing metadata of a failure: the error's stable name, and seconds after which a repeat may succeed.
CODE_KEY: Final = "code"
RETRY_AFTER_KEY: Final = "retry-after"

MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
#: Of the metadata of one call.
MAX_METADATA_BYTES: Final = 16 * 1024
