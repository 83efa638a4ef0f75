"""The estimate of what a back-fill takes: calls, time, and what AWS will bill. Prices are assumptions that can be set.

Reading metadata moves an image set from the archive tier of AHI to the frequent tier, for 30 days at least. So the cost
is that of the calls, and for a month the difference of both tiers for what is in the archive tier. AHI tells the tier
of an image set and the number of its instances, but not its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ahi.client.listing_calls import ListedImageSet

_LEAST_MB = 5.0
"""The size that AHI bills for a smaller image set."""

_MB_PER_GB = 1024.0


@dataclass(frozen=True)
class Prices:
    """Prices in US dollars, of US East in 2026, and the size of an instance in AHI, in MB."""

    frequent_gb_month: float = 0.105
    archive_gb_month: float = 0.006
    thousand_calls: float = 0.005
    instance_mb: float = 0.25


@dataclass
class Estimate:
    """What is to be read. `archived_mb` is what AHI bills of it in the archive tier."""

    prices: Prices
    metadata_per_second: float
    image_sets: int = 0
    archived: int = 0
    archived_mb: float = 0.0

    def add(self, listed: ListedImageSet) -> None:
        """Count an image set that is to be read."""
        self.image_sets += 1
        if listed.is_archived:
            self.archived += 1
            self.archived_mb += max(_LEAST_MB, listed.instances * self.prices.instance_mb)

    @property
    def seconds(self) -> float:
        """The time at the full rate."""
        return self.image_sets / self.metadata_per_second

    @property
    def calls_dollars(self) -> float:
        """The cost of the calls."""
        return self.image_sets / 1000 * self.prices.thousand_calls

    @property
    def tier_dollars(self) -> float:
        """The cost of a month in the dear tier, beyond that in the archive tier."""
        gigabytes = self.archived_mb / _MB_PER_GB
        return gigabytes * max(0.0, self.prices.frequent_gb_month - self.prices.archive_gb_month)

    def lines(self) -> Iterator[str]:
        """The estimate in words."""
        yield f"{self.image_sets:,} image sets are to be read."
        rate = f"{self.metadata_per_second:g} calls of GetImageSetMetadata a second"
        yield f"time  about {duration(self.seconds)}, at {rate}"
        yield f"cost  about {self.calls_dollars + self.tier_dollars:,.2f} USD:"
        yield f"      {self.calls_dollars:,.2f} USD for the calls, at {self.prices.thousand_calls:g} USD for 1,000"
        yield (
            f"      {self.tier_dollars:,.2f} USD for a month in the frequent tier of {self.archived:,} image sets"
            " that are in the archive tier"
        )
        yield (
            f"      ({self.archived_mb / _MB_PER_GB:,.1f} GB, at {self.prices.frequent_gb_month:g} instead of"
            f" {self.prices.archive_gb_month:g} USD for a GB and month; {self.prices.instance_mb:g} MB for an instance,"
            f" {_LEAST_MB:g} MB at least for an image set)"
        )
        yield "These prices and sizes are assumptions: --help names the options that set them."


def duration(seconds: float) -> str:
    """A time in words, such as `5 h 33 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
