"""Logical dates: a day in a time zone, written YYYY-MM-DD."""

import datetime
import zoneinfo


def checked(date: str) -> str:
    """A date as it must be written: it becomes folders and file names.

    Raises:
        ValueError: for anything else.

    >>> checked("2026-11-21")
    '2026-11-21'
    """
    try:
        if datetime.date.fromisoformat(date).isoformat() == date:
            return date
    except ValueError:
        pass
    raise ValueError(f"a date must be written YYYY-MM-DD, got {date!r}")


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        ValueError: if there is none of the name.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"timezone must be an IANA name such as Asia/Shanghai, got {name!r}"
        ) from error


def yesterday(now: datetime.datetime, zone: zoneinfo.ZoneInfo) -> str:
    """The last day that is over in a time zone.

    Args:
        now: aware.
        zone: whose days are meant.

    >>> late = datetime.datetime(2026, 11, 21, 17, 0, tzinfo=datetime.timezone.utc)
    >>> yesterday(late, zone_of("Asia/Shanghai")), yesterday(late, zone_of("UTC"))
    ('2026-11-21', '2026-11-20')
    """
    # Dates are subtracted, not hours: a day has 23 or 25 of them when clocks change.
    return (now.astimezone(zone).date() - datetime.timedelta(days=1)).isoformat()


def end_of(date: str, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The instant, in UTC, at which a day ends in a time zone."""
    after = datetime.date.fromisoformat(date) + datetime.timedelta(days=1)
    midnight = datetime.datetime.combine(after, datetime.time(), tzinfo=zone)
    # Two instants of one zone are compared by their clocks, which is wrong across a change.
    return midnight.astimezone(datetime.UTC)


def between(first: str, last: str) -> list[str]:
    """The days after the first and before the last."""
    day, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    return [
        (day + datetime.timedelta(days=number)).isoformat() for number in range(1, (end - day).days)
    ]
