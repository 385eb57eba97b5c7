"""The variables that `sam local` gets: every one, with nothing left for it to guess."""

from __future__ import annotations

from typing import Any

from local.sam_env import made_up_stack, variables_of
from local.sam_local import invocations
from tests.template.conftest import ROOT

BASE_URL = "http://127.0.0.1:3000"


def test_every_variable_of_every_function_is_resolved(
    template: dict[str, Any], functions: dict[str, Any]
) -> None:
    variables = variables_of(template, made_up_stack(template, base_url=BASE_URL))

    assert {name: set(values) for name, values in variables.items()} == {
        f"{name.capitalize()}Function": set(properties["Environment"]["Variables"])
        for name, properties in functions.items()
    }
    assert all(isinstance(v, str) for values in variables.values() for v in values.values())


def test_references_become_what_cloudformation_would_make_of_them(template: dict[str, Any]) -> None:
    variables = variables_of(template, made_up_stack(template, base_url=BASE_URL))
    callback = variables["CallbackFunction"]

    assert callback["PUBLIC_BASE_URL"] == BASE_URL
    assert callback["KEY_EPOCH_DAYS"] == str(template["Parameters"]["KeyEpochDays"]["Default"])
    assert callback["SEALING_KEY_ARN"].startswith("arn:aws:kms:us-east-1:123456789012:key/")
    assert callback["RESCUE_QUEUE_URL"].endswith("/123456789012/RescueQueue")
    assert variables["TokensFunction"]["REFRESH_FUNCTION"] == "RefreshFunction"


def test_every_event_can_be_invoked(template: dict[str, Any]) -> None:
    lines = invocations(template, ROOT / "events")

    assert len(lines) == len(list((ROOT / "events").glob("*.json")))
    for line in lines:
        assert line.split(" invoke ")[1].split(" ")[0] in template["Resources"]
