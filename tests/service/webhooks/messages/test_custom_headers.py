"""The rules for the headers that an endpoint adds to its requests."""

import pytest

from service.webhooks.messages.custom_headers import (
    MASK,
    MAX_HEADERS,
    MAX_TOTAL_CHARACTERS,
    check_names,
    decode_headers,
    encode_headers,
    mask_values,
    merge_headers,
)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect"),
        *("Proxy-Authorization", "Content-Type", "content-length", "Accept-Encoding", "User-Agent"),
        *("webhook-id", "Webhook-Signature", "WEBHOOK-TIMESTAMP", "traceparent", "tracestate"),
        "X-Request-ID",
    ],
)
def test_headers_of_the_connection_and_of_the_service_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check_names(["X-Api-Key", name])


def test_other_headers_are_allowed_and_each_once() -> None:
    check_names(["Authorization", "X-Api-Key", "Cookie", "X-Host"])
    with pytest.raises(ValueError, match="twice"):
        check_names(["X-Api-Key", "x-api-key"])


def test_changes_set_and_remove_headers_and_keep_the_others() -> None:
    present = {"X-Api-Key": "old", "X-Tenant": "7"}
    assert merge_headers(present, {"x-api-key": "new"}) == {"x-api-key": "new", "X-Tenant": "7"}
    assert merge_headers(present, {"x-tenant": None, "x-unknown": None}) == {"X-Api-Key": "old"}


def test_count_and_size_are_bounded() -> None:
    most = {f"x-{number}": "1" for number in range(MAX_HEADERS)}
    assert len(merge_headers(most, {"x-0": "2"})) == MAX_HEADERS
    with pytest.raises(ValueError, match=str(MAX_HEADERS)):
        merge_headers(most, {"y": "1"})
    value = "v" * (MAX_TOTAL_CHARACTERS // 2 - 1)
    assert len(merge_headers({"a": value}, {"b": value})) == 2
    with pytest.raises(ValueError, match=str(MAX_TOTAL_CHARACTERS)):
        merge_headers({"a": value}, {"b": value + "v"})


def test_the_column_keeps_all_headers() -> None:
    headers = {"X-Api-Key": 'a "quoted" value', "Authorization": "Bearer abc"}
    assert decode_headers(encode_headers(headers)) == headers
    assert encode_headers({}) is None
    assert decode_headers(None) == {}


def test_values_are_masked_in_what_a_receiver_repeats() -> None:
    headers = {"Authorization": "Bearer s3cr3t-token", "X-Stage": "dev"}
    echoed = (
        '{"Authorization": "Bearer s3cr3t-token", "token": "s3cr3t-token", "stage": "dev", "by": "Bearer"}'
    )
    masked = f'{{"Authorization": "{MASK}", "token": "{MASK}", "stage": "dev", "by": "Bearer"}}'
    assert mask_values(echoed, headers) == masked
