"""Read the metrics of a service as Prometheus reads them."""

from collections.abc import Iterable

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


class Samples:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"framehook_{name}" and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values that a label has in the samples with this name."""
        return {sample.labels[label] for sample in self.samples if sample.name == f"framehook_{name}"}


async def scrape(client: httpx.AsyncClient, **options: object) -> Samples:
    """Return what a scrape answers."""
    answer = await client.get("/metrics", **options)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return Samples(answer.text)


def names_of(families: Iterable[Metric]) -> list[str]:
    """Return the names of the service's own metrics."""
    return [family.name for family in families if family.name.startswith("framehook_")]
