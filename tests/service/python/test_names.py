"""The client has the names of the service, which it may not import."""

from typing import get_args

from framehook.names import DeliveryStateName, EventName, FaultName, FormatName, PriorityName, StatusName
from service.jobs.models import Status
from service.jobs.queue.priorities import Priority
from service.webhooks.models import DeliveryState, EndpointFormat, WebhookEvent
from service.webhooks.rehearsal.faults import Fault


def test_the_client_has_all_names_of_the_service() -> None:
    assert list(StatusName) == [status.value for status in Status]
    assert list(EventName) == [event.value for event in WebhookEvent]
    assert list(FormatName) == [name.value for name in EndpointFormat]
    assert list(FaultName) == [fault.value for fault in Fault]
    assert list(DeliveryStateName) == [state.value for state in DeliveryState]
    assert list(get_args(PriorityName)) == [priority.value for priority in Priority]
