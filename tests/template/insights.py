"""Logs Insights: the fields that a query names, and those that our records have."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from local.deploy import read_template

ROOT = Path(__file__).resolve().parents[2]
_WORDS = {
    *("filter", "fields", "stats", "sort", "limit", "display", "as", "by", "and", "or", "not"),
    *("in", "like", "asc", "desc", "SOURCE", "d", "h", "m"),
    *("count", "count_distinct", "bin"),
}
_OF_POWERTOOLS = {"level", "message", "service", "correlation_id", "timestamp", "location"}
_OF_INSIGHTS = {"@timestamp", "@message"}


def fields_of(query: str) -> set[str]:
    """The names in a query that are no word of the language, no text and no name of its own."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|/[^/\n]*/", " ", query)
    own = set(re.findall(r"\bas (\w+)", bare))
    return set(re.findall(r"@?\b[A-Za-z_]\w*", bare)) - _WORDS - own


def messages_of(query: str) -> set[str]:
    """The records that a query asks for by their whole message."""
    asked = re.findall(r"message (?:=|in) (\[[^\]]*\]|\"[^\"]*\")", query)
    return {text for part in asked for text in re.findall(r"\"([^\"]*)\"", part)}


@cache
def logged() -> frozenset[str]:
    """What records have: given by our code, by Powertools, or in the API's access log."""
    found = _OF_POWERTOOLS | _OF_INSIGHTS
    for folder in ("layers/linking/tiktok_linking", "functions"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "extra":
                    keys = [key for one in ast.walk(node.value) for key in _keys(one)]
                    found |= set(keys)
    (api,) = (
        resource["Properties"]
        for resource in read_template(ROOT / "template.yaml")["Resources"].values()
        if resource["Type"] == "AWS::Serverless::HttpApi"
    )
    return frozenset(found | set(re.findall(r'"(\w+)":', api["AccessLogSettings"]["Format"])))


def _keys(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.Dict):
        return []
    return [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
