"""Structured results: the return type is the output schema."""

import datetime
from dataclasses import dataclass
from typing import TypedDict

__cache_ttl__ = 60


class Place(TypedDict):
    name: str
    country: str


@dataclass
class Forecast:
    """The weather of a day."""

    place: Place
    day: datetime.date
    celsius: float
    rain: bool = False


def forecast(city: str, day: datetime.date, days: int = 1) -> list[Forecast]:
    """The weather of the days from a date on."""
    place: Place = {"name": city, "country": "nowhere"}
    return [
        Forecast(place, day + datetime.timedelta(days=i), celsius=20.5 + i) for i in range(days)
    ]


def today(city: str) -> Forecast:
    """The weather of a fixed day, as an object."""
    return forecast(city, datetime.date(2026, 1, 31))[0]
