"""Results as the plain objects that travel as JSON, and back. The forms are the contract's.

Times stay ``datetime``: the encoder (``pkg.runtime.json``) writes them as RFC 3339 UTC, and reading takes either.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pkg.object_model.types import (
    Actor,
    AuditEvent,
    AuditPage,
    CheckLinkRequest,
    DirectoryEntry,
    FollowCounts,
    Identity,
    IdPage,
    ImportAction,
    ImportReport,
    ImportRow,
    Link,
    LinkCount,
    LinkHistory,
    LinkPage,
    LinkStatus,
    NamePage,
    NewApiToken,
    NewsEvent,
    NewsEventType,
    NewsPage,
    Session,
    SharedLink,
    StatusChange,
    StatusCount,
    TagCount,
    TagPage,
    Ticket,
    TokenInfo,
    TokenKind,
    TokenRecord,
    User,
    UserPage,
    Verdict,
    Visibility,
    granted_scopes,
)

type Wire = dict[str, Any]


def _time(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def tag_set(tags: tuple[str, ...]) -> dict[str, bool]:
    return dict.fromkeys(tags, True)


def link_to_wire(link: Link) -> Wire:
    return {
        "Id": str(link.id),
        "Url": link.url,
        "Title": link.title,
        "Description": link.description,
        "Status": link.status,
        "Tags": dict.fromkeys(link.tags, True),
        "CreatedAt": link.created_at,
        "UpdatedAt": link.updated_at,
        "Visibility": link.visibility,
        "Version": link.version,
        "StatusReason": link.status_reason,
        "CheckedAt": link.checked_at,
        "MovedTo": link.moved_to,
        "ArchivedUrl": link.archived_url,
    }


def link_from_wire(wire: Mapping[str, Any]) -> Link:
    checked_at = wire.get("CheckedAt")
    return Link(
        id=int(wire["Id"]),
        url=wire["Url"],
        title=wire["Title"],
        description=wire["Description"],
        status=LinkStatus(wire["Status"]),
        tags=tuple(wire["Tags"]),
        created_at=_time(wire["CreatedAt"]),
        updated_at=_time(wire["UpdatedAt"]),
        visibility=Visibility(wire["Visibility"]),
        version=wire["Version"],
        status_reason=wire.get("StatusReason", ""),
        checked_at=_time(checked_at) if checked_at else None,
        moved_to=wire.get("MovedTo", ""),
        archived_url=wire.get("ArchivedUrl", ""),
    )


def link_page_to_wire(page: LinkPage) -> Wire:
    return {
        "links": [link_to_wire(link) for link in page.links],
        "NextPageToken": page.next_page_token,
        "err": "",
    }


def link_page_from_wire(wire: Mapping[str, Any]) -> LinkPage:
    return LinkPage([link_from_wire(link) for link in wire["links"]], wire["NextPageToken"])


def shared_links_to_wire(links: Sequence[SharedLink]) -> Wire:
    return {"links": [{"UserId": str(one.user_id), **link_to_wire(one.link)} for one in links], "err": ""}


def shared_links_from_wire(wire: Mapping[str, Any]) -> list[SharedLink]:
    return [SharedLink(int(one["UserId"]), link_from_wire(one)) for one in wire["links"]]


def link_count_to_wire(count: LinkCount) -> Wire:
    return {"count": count.count, "limit": count.limit, "dead": count.dead, "err": ""}


def link_count_from_wire(wire: Mapping[str, Any]) -> LinkCount:
    # A link service of the version before does not say.
    return LinkCount(wire["count"], wire["limit"], wire.get("dead", 0))


def status_counts_to_wire(counts: list[StatusCount]) -> Wire:
    """``statuses`` sums them up, and has each status."""
    statuses = {status.value: 0 for status in LinkStatus}
    for row in counts:
        statuses[row.status.value] += row.count
    return {
        "statuses": statuses,
        "reasons": [{"Status": row.status, "StatusReason": row.reason, "Count": row.count} for row in counts],
        "err": "",
    }


def status_counts_from_wire(wire: Mapping[str, Any]) -> list[StatusCount]:
    return [StatusCount(LinkStatus(row["Status"]), row["StatusReason"], row["Count"]) for row in wire["reasons"]]


def link_history_to_wire(history: LinkHistory) -> Wire:
    changes = [{"At": change.at, "Status": change.status, "StatusReason": change.reason} for change in history.changes]
    return {"link": link_to_wire(history.link), "changes": changes, "err": ""}


def link_history_from_wire(wire: Mapping[str, Any]) -> LinkHistory:
    changes = [
        StatusChange(_time(change["At"]), LinkStatus(change["Status"]), change["StatusReason"])
        for change in wire["changes"]
    ]
    return LinkHistory(link_from_wire(wire["link"]), changes)


def tag_page_to_wire(page: TagPage) -> Wire:
    return {
        "tags": [{"Tag": row.tag, "Count": row.count} for row in page.tags],
        "NextPageToken": page.next_page_token,
        "err": "",
    }


def tag_page_from_wire(wire: Mapping[str, Any]) -> TagPage:
    return TagPage([TagCount(row["Tag"], row["Count"]) for row in wire["tags"]], wire["NextPageToken"])


def import_report_to_wire(report: ImportReport) -> Wire:
    return {
        "ImportId": str(report.import_id),
        "Total": report.total,
        "Imported": report.imported,
        "Merged": report.merged,
        "Unchanged": report.unchanged,
        "Skipped": report.skipped,
        "Rows": [{"Line": row.line, "Url": row.url, "Action": row.action, "Reason": row.reason} for row in report.rows],
        "RowsTruncated": report.rows_truncated,
    }


def import_report_from_wire(wire: Mapping[str, Any]) -> ImportReport:
    return ImportReport(
        import_id=int(wire["ImportId"]),
        total=wire["Total"],
        imported=wire["Imported"],
        merged=wire["Merged"],
        unchanged=wire["Unchanged"],
        skipped=wire["Skipped"],
        rows=[
            ImportRow(
                line=row["Line"],
                url=row["Url"],
                action=ImportAction(row["Action"]),
                reason=row["Reason"],
            )
            for row in wire["Rows"]
        ],
        rows_truncated=wire["RowsTruncated"],
    )


def user_to_wire(user: User) -> Wire:
    return {
        "Id": str(user.id),
        "Name": user.name,
        "DisplayName": user.display_name,
        "Email": user.email,
        "Private": user.private,
        "CreatedAt": user.created_at,
    }


def user_from_wire(wire: Mapping[str, Any]) -> User:
    return User(
        id=int(wire["Id"]),
        name=wire["Name"],
        display_name=wire["DisplayName"],
        email=wire["Email"],
        private=wire["Private"],
        created_at=_time(wire["CreatedAt"]),
    )


def actor_to_wire(actor: Actor) -> Wire:
    return {"Id": str(actor.user_id), "Name": actor.name}


def actor_from_wire(wire: Mapping[str, Any]) -> Actor:
    return Actor(int(wire["Id"]), wire["Name"])


def entry_to_wire(entry: DirectoryEntry) -> Wire:
    return {"Id": str(entry.user_id), "Name": entry.name, "Private": entry.private}


def entry_from_wire(wire: Mapping[str, Any]) -> DirectoryEntry:
    # A user service of the version before does not say, and has no private accounts.
    return DirectoryEntry(int(wire["Id"]), wire["Name"], wire.get("Private", False))


def session_to_wire(session: Session) -> Wire:
    """``session`` is the token itself, as the original's clients expect it."""
    return {
        "session": session.token,
        "user": actor_to_wire(session.user),
        "ExpiresAt": session.expires_at,
        "err": "",
    }


def session_from_wire(wire: Mapping[str, Any]) -> Session:
    return Session(
        token=wire["session"],
        user=actor_from_wire(wire["user"]),
        expires_at=_time(wire["ExpiresAt"]),
    )


def ticket_to_wire(ticket: Ticket) -> Wire:
    return {
        "ticket": ticket.ticket,
        "user": actor_to_wire(ticket.user),
        "ExpiresAt": ticket.expires_at,
        "err": "",
    }


def ticket_from_wire(wire: Mapping[str, Any]) -> Ticket:
    return Ticket(user=actor_from_wire(wire["user"]), ticket=wire["ticket"], expires_at=_time(wire["ExpiresAt"]))


def token_info_to_wire(token: TokenInfo) -> Wire:
    return {
        "Id": str(token.id),
        "Name": token.name,
        "Kind": token.kind,
        "Scopes": list(token.scopes),
        "ExpiresAt": token.expires_at,
    }


def identity_to_wire(identity: Identity) -> Wire:
    return {
        "user": actor_to_wire(identity.actor),
        "token": token_info_to_wire(identity.token),
        "err": "",
    }


def identity_from_wire(wire: Mapping[str, Any]) -> Identity:
    token = wire["token"]
    kind = TokenKind(token["Kind"])
    return Identity(
        actor=actor_from_wire(wire["user"]),
        token=TokenInfo(
            # A user service of the version before does not say.
            id=int(token.get("Id", 0)),
            name=token["Name"],
            kind=kind,
            scopes=granted_scopes(kind, token["Scopes"]),
            expires_at=_time(token["ExpiresAt"]),
        ),
    )


def token_record_to_wire(record: TokenRecord) -> Wire:
    return {
        "Id": str(record.id),
        "Kind": record.kind,
        "Name": record.name,
        "Scopes": list(record.scopes),
        "Client": record.client,
        "CreatedAt": record.created_at,
        "ExpiresAt": record.expires_at,
        "LastUsedAt": record.last_used_at,
    }


def token_record_from_wire(wire: Mapping[str, Any]) -> TokenRecord:
    kind = TokenKind(wire["Kind"])
    return TokenRecord(
        id=int(wire["Id"]),
        kind=kind,
        name=wire["Name"],
        scopes=granted_scopes(kind, wire["Scopes"]),
        client=wire["Client"],
        created_at=_time(wire["CreatedAt"]),
        expires_at=_time(wire["ExpiresAt"]),
        last_used_at=None if wire["LastUsedAt"] is None else _time(wire["LastUsedAt"]),
    )


def token_records_to_wire(key: str, records: list[TokenRecord]) -> Wire:
    """``key`` says what they are: ``sessions`` or ``tokens``."""
    return {key: [token_record_to_wire(record) for record in records], "err": ""}


def token_records_from_wire(key: str, wire: Mapping[str, Any]) -> list[TokenRecord]:
    return [token_record_from_wire(record) for record in wire[key]]


def new_api_token_to_wire(made: NewApiToken) -> Wire:
    """``token`` is the token itself, as ``session`` is at a login."""
    return {"token": made.token, "record": token_record_to_wire(made.record), "err": ""}


def new_api_token_from_wire(wire: Mapping[str, Any]) -> NewApiToken:
    return NewApiToken(wire["token"], token_record_from_wire(wire["record"]))


def audit_page_to_wire(page: AuditPage) -> Wire:
    return {
        "events": [
            {
                "Id": str(event.id),
                "Type": event.type,
                "Timestamp": event.timestamp,
                "Detail": event.detail,
                "Client": event.client,
                "Address": event.address,
            }
            for event in page.events
        ],
        "NextPageToken": page.next_page_token,
        "err": "",
    }


def audit_page_from_wire(wire: Mapping[str, Any]) -> AuditPage:
    return AuditPage(
        [
            AuditEvent(
                id=int(event["Id"]),
                type=event["Type"],
                timestamp=_time(event["Timestamp"]),
                detail=event["Detail"],
                client=event["Client"],
                # A version of before has none.
                address=event.get("Address", ""),
            )
            for event in wire["events"]
        ],
        wire["NextPageToken"],
    )


def name_page_to_wire(key: str, page: NamePage) -> Wire:
    """``key`` says whose names they are: ``followers``, ``following``, ``mutuals``, ``requests``, ``blocked``."""
    return {
        key: dict.fromkeys(page.names, True),
        "NextPageToken": page.next_page_token,
        "err": "",
    }


def name_page_from_wire(key: str, wire: Mapping[str, Any]) -> NamePage:
    return NamePage(list(wire[key]), wire.get("NextPageToken", ""))


def id_page_to_wire(page: IdPage) -> Wire:
    return {"ids": list(map(str, page.user_ids)), "NextPageToken": page.next_page_token, "err": ""}


def id_page_from_wire(wire: Mapping[str, Any]) -> IdPage:
    return IdPage(list(map(int, wire["ids"])), wire["NextPageToken"])


def user_page_to_wire(page: UserPage) -> Wire:
    users = [{"Id": str(user.user_id), "Name": user.name} for user in page.users]
    return {"users": users, "NextPageToken": page.next_page_token, "err": ""}


def user_page_from_wire(wire: Mapping[str, Any]) -> UserPage:
    return UserPage([Actor(int(user["Id"]), user["Name"]) for user in wire["users"]], wire["NextPageToken"])


def follow_counts_to_wire(counts: FollowCounts) -> Wire:
    return {"FollowerCount": counts.followers, "FollowingCount": counts.following, "err": ""}


def follow_counts_from_wire(wire: Mapping[str, Any]) -> FollowCounts:
    return FollowCounts(wire["FollowerCount"], wire["FollowingCount"])


def verdict_to_wire(request: CheckLinkRequest, verdict: Verdict) -> Wire:
    return {
        "Username": request.username,
        "Url": request.url,
        "Status": verdict.status,
        "Reason": verdict.reason,
        "Transient": verdict.transient,
        "MovedTo": verdict.moved_to,
        "RetryAfter": verdict.retry_after,
        "err": "",
    }


def verdict_from_wire(wire: Mapping[str, Any]) -> Verdict:
    return Verdict(
        status=LinkStatus(wire["Status"]),
        reason=wire["Reason"],
        transient=wire["Transient"],
        moved_to=wire.get("MovedTo", ""),
        retry_after=wire.get("RetryAfter"),
    )


def news_event_to_wire(event: NewsEvent) -> Wire:
    """``Count`` is there for imports only."""
    wire: Wire = {
        "Id": str(event.id),
        "EventType": int(event.event_type),
        "Username": event.username,
        "Url": event.url,
        "Timestamp": event.timestamp,
        "Title": event.title,
        "Description": event.description,
        "Tags": dict.fromkeys(event.tags, True),
        "Status": event.status,
        "Version": event.version,
    }
    if event.count:
        wire["Count"] = event.count
    return wire


def news_event_from_wire(wire: Mapping[str, Any]) -> NewsEvent:
    return NewsEvent(
        id=int(wire["Id"]),
        event_type=NewsEventType(wire["EventType"]),
        username=wire["Username"],
        url=wire["Url"],
        timestamp=_time(wire["Timestamp"]),
        title=wire["Title"],
        description=wire["Description"],
        tags=tuple(wire["Tags"]),
        status=LinkStatus(wire["Status"]),
        version=wire["Version"],
        count=wire.get("Count", 0),
    )


def news_page_to_wire(page: NewsPage) -> Wire:
    return {
        "events": [news_event_to_wire(event) for event in page.events],
        "NextPageToken": page.next_page_token,
        "PrevPageToken": page.prev_page_token,
        "err": "",
    }


def news_page_from_wire(wire: Mapping[str, Any]) -> NewsPage:
    events = [news_event_from_wire(event) for event in wire["events"]]
    # A service of the version before does not know the way back.
    return NewsPage(events, wire["NextPageToken"], wire.get("PrevPageToken", ""))
