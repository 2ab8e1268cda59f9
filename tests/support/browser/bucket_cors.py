"""Answer pages of other origins by the CORS rules of a bucket, as S3 and R2 do; moto would let every page in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Headers = dict[str, str]


@dataclass(frozen=True)
class CorsRule:
    """One rule; R2 takes `*` among the headers for the name of a header, so it matches only itself."""

    origins: list[str]
    methods: list[str]
    request_headers: set[str]
    response_headers: list[str]

    def matches(self, origin: str, method: str, request_headers: set[str]) -> bool:
        is_known = origin in self.origins or "*" in self.origins
        return is_known and method in self.methods and request_headers <= self.request_headers


def read_rules(configuration: str) -> list[CorsRule]:
    """Read the rules from the XML that a bucket returns for `?cors`."""
    rules = re.findall(r"<CORSRule>(.*?)</CORSRule>", configuration, re.DOTALL)
    return [
        CorsRule(
            _read_values(rule, "AllowedOrigin"),
            _read_values(rule, "AllowedMethod"),
            {name.lower() for name in _read_values(rule, "AllowedHeader")},
            _read_values(rule, "ExposeHeader"),
        )
        for rule in rules
    ]


def answer_preflight(rules: list[CorsRule], headers: Mapping[str, str]) -> Headers | None:
    """Return the headers that allow the request that a browser asks for, or None if no rule does."""
    origin, method = headers.get("origin", ""), headers.get("access-control-request-method", "")
    requested = headers.get("access-control-request-headers", "").lower()
    names = {name.strip() for name in requested.split(",") if name.strip()}
    rule = next((rule for rule in rules if rule.matches(origin, method, names)), None)
    if rule is None:
        return None
    return _allow(rule, origin) | {
        "Access-Control-Allow-Methods": ", ".join(rule.methods),
        "Access-Control-Allow-Headers": requested,
    }


def response_headers(rules: list[CorsRule], method: str, headers: Mapping[str, str]) -> Headers:
    """Return the headers that let a page read a response; none if no rule matches."""
    origin = headers.get("origin", "")
    rule = next((rule for rule in rules if rule.matches(origin, method, set())), None)
    return {} if rule is None else _allow(rule, origin)


def _allow(rule: CorsRule, origin: str) -> Headers:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": ", ".join(rule.response_headers),
        "Vary": "Origin",
    }


def _read_values(rule: str, element: str) -> list[str]:
    return re.findall(rf"<{element}>(.*?)</{element}>", rule)
