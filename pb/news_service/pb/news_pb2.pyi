import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINK_ADDED: _ClassVar[EventType]
    LINK_UPDATED: _ClassVar[EventType]
    LINK_DELETED: _ClassVar[EventType]
    LINKS_IMPORTED: _ClassVar[EventType]
LINK_ADDED: EventType
LINK_UPDATED: EventType
LINK_DELETED: EventType
LINKS_IMPORTED: EventType

class GetNewsRequest(_message.Message):
    __slots__ = ("username", "startToken", "limit", "since")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    STARTTOKEN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    username: str
    startToken: str
    limit: int
    since: int
    def __init__(self, username: _Optional[str] = ..., startToken: _Optional[str] = ..., limit: _Optional[int] = ..., since: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("eventType", "username", "url", "timestamp", "title", "description", "tags", "status", "version", "id", "count")
    EVENTTYPE_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    eventType: EventType
    username: str
    url: str
    timestamp: _timestamp_pb2.Timestamp
    title: str
    description: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    status: str
    version: int
    id: int
    count: int
    def __init__(self, eventType: _Optional[_Union[EventType, str]] = ..., username: _Optional[str] = ..., url: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., status: _Optional[str] = ..., version: _Optional[int] = ..., id: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class GetNewsResponse(_message.Message):
    __slots__ = ("events", "nextToken", "err", "prevToken")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXTTOKEN_FIELD_NUMBER: _ClassVar[int]
    ERR_FIELD_NUMBER: _ClassVar[int]
    PREVTOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    nextToken: str
    err: str
    prevToken: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., nextToken: _Optional[str] = ..., err: _Optional[str] = ..., prevToken: _Optional[str] = ...) -> None: ...
