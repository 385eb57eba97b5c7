"""Which routes there are, who may call them, and what is written down of a call."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatchcase
from typing import Any

from local.deploy import routes_of
from tests.docs.reading import Document
from tests.template.conftest import ROOT

PUBLIC = {
    "GET /connect/{id}",
    "GET /connect/{id}/status",
    "GET /connect.js",
    "GET /authorize",
    "GET /callback",
    "POST /webhooks/tiktok",
    "GET /{file}",
}
ROUTES = {
    "GET /connect/{id}": "AuthorizeFunction",
    "GET /connect/{id}/status": "AuthorizeFunction",
    "GET /connect.js": "AuthorizeFunction",
    "GET /authorize": "AuthorizeFunction",
    "GET /callback": "CallbackFunction",
    "POST /v1/link-sessions": "SessionsFunction",
    "POST /v1/link-sessions/{id}/complete": "CallbackFunction",
    "GET /v1/link-sessions/{id}": "SessionsFunction",
    "DELETE /v1/link-sessions/{id}": "SessionsFunction",
    "POST /v1/accounts/{id}/relink": "SessionsFunction",
    "GET /v1/accounts": "AccountsFunction",
    "GET /v1/accounts/{id}": "AccountsFunction",
    "GET /v1/forecast/relinks": "AccountsFunction",
    "PATCH /v1/accounts/{id}": "AccountsFunction",
    "GET /v1/accounts/{id}/events": "AccountsFunction",
    "POST /v1/accounts/{id}/token": "TokensFunction",
    "DELETE /v1/accounts/{id}": "UnlinkFunction",
    "DELETE /v1/end-users/{end_user_id}": "UnlinkFunction",
    "POST /webhooks/tiktok": "WebhookFunction",
    "GET /{file}": "WebhookFunction",
}
# What else could be reached from outside, some of it without TLS.
OTHER_ENTRANCES = {
    "AWS::ApiGateway::RestApi",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::Lambda::Url",
    "AWS::S3::Bucket",
}


def test_these_routes_lead_to_these_functions(plain: dict[str, Any]) -> None:
    assert {route.key: route.function for route in routes_of(plain)} == ROUTES


def test_every_route_needs_a_signature_but_for_an_explicit_list(plain: dict[str, Any]) -> None:
    assert {route.key for route in routes_of(plain) if not route.needs_iam} == PUBLIC
    assert all(key.split(" ")[1].startswith("/v1/") for key in ROUTES.keys() - PUBLIC)


def test_nothing_listens_without_tls(plain: dict[str, Any]) -> None:
    """An HTTP API has https alone; a domain of one's own takes TLS 1.2 and newer."""
    resources = plain["Resources"].values()
    domains = [one for one in resources if one["Type"] == "AWS::ApiGatewayV2::DomainName"]
    policies = [
        configuration["SecurityPolicy"]
        for domain in domains
        for configuration in domain["Properties"]["DomainNameConfigurations"]
    ]

    assert policies == ["TLS_1_2"]
    assert {one["Type"] for one in resources} & OTHER_ENTRANCES == set()


def test_what_the_functions_are_told_to_call_is_https(
    functions: dict[str, dict[str, Any]],
) -> None:
    values = str([one["Environment"]["Variables"] for one in functions.values()])

    assert "https://" in values
    assert "http://" not in values


def test_a_new_route_starts_out_closed(template: dict[str, Any]) -> None:
    auth = template["Resources"]["HttpApi"]["Properties"]["Auth"]

    assert auth == {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"}


def test_each_handler_knows_the_routes_that_the_template_gives_it() -> None:
    """And no other: what the template does not route would be dead code."""
    for function in set(ROUTES.values()):
        name = function.removesuffix("Function").lower()
        code = (ROOT / "functions" / name / "app.py").read_text(encoding="utf-8")
        known = {
            node.value
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"[A-Z]+ /[^ ,:]*", node.value)
        }

        assert known == {key for key, target in ROUTES.items() if target == function}, name


def test_each_route_may_invoke_its_function_and_nothing_else_may(plain: dict[str, Any]) -> None:
    """One permission for each route, bound to this API."""
    permissions = [r for r in plain["Resources"].values() if r["Type"] == "AWS::Lambda::Permission"]

    assert len(permissions) == len(ROUTES)
    for permission in permissions:
        properties = permission["Properties"]
        assert properties["Principal"] == "apigateway.amazonaws.com"
        assert properties["SourceArn"]["Fn::Sub"][1]["__ApiId__"] == {"Ref": "HttpApi"}


def test_every_route_is_throttled_and_public_ones_more(template: dict[str, Any]) -> None:
    api = template["Resources"]["HttpApi"]["Properties"]
    usual = api["DefaultRouteSettings"]

    assert set(api["RouteSettings"]) == PUBLIC
    for settings in api["RouteSettings"].values():
        assert settings["ThrottlingRateLimit"] < usual["ThrottlingRateLimit"]
        assert settings["ThrottlingBurstLimit"] < usual["ThrottlingBurstLimit"]


def test_what_strangers_reach_renews_nothing(
    plain: dict[str, Any], functions: dict[str, Any]
) -> None:
    """A flood takes the concurrency of its own functions, which a parameter caps."""
    flooded = {r.function for r in routes_of(plain) if not r.needs_iam}
    mappings = [
        r["Properties"]
        for r in plain["Resources"].values()
        if r["Type"] == "AWS::Lambda::EventSourceMapping"
    ]

    assert flooded == {"AuthorizeFunction", "CallbackFunction", "WebhookFunction"}
    for function in flooded:
        capped = functions[function.removesuffix("Function").lower()]
        assert capped["ReservedConcurrentExecutions"]["Fn::If"][1] == {
            "Ref": "PublicReservedConcurrency"
        }
    assert functions["refresh"]["ReservedConcurrentExecutions"]["Fn::If"][1] == {
        "Ref": "RefreshReservedConcurrency"
    }
    assert not {"RefreshFunction", "RescueFunction"} & {r.function for r in routes_of(plain)}
    (workers,) = [m for m in mappings if m["FunctionName"] == _arn_of("RefreshFunction")]
    assert workers["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "RenewalConcurrency"}}


def test_a_caller_can_be_given_lists_without_tokens() -> None:
    """By the policy that docs/operations.md shows; in an ARN `*` goes over slashes, as here."""
    section = Document.read("docs/operations.md").section("Rights for callers").text
    found = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert found is not None
    (statement,) = json.loads(found[1])["Statement"]
    shapes = [arn.partition(":API_ID/$default/")[2] for arn in statement["Resource"]]

    def opened(*allowed: str) -> set[str]:
        """The routes whose every path, as `{id}` may read, these open."""
        paths = {key: key.replace(" ", "").replace("{id}", "acct_1") for key in ROUTES}
        return {key for key, path in paths.items() if any(fnmatchcase(path, s) for s in allowed)}

    assert statement["Action"] == "execute-api:Invoke"
    assert opened(*shapes) == {
        "GET /v1/accounts",
        "GET /v1/accounts/{id}",
        "GET /v1/accounts/{id}/events",
    }
    assert opened("POST/v1/accounts/*/token") == {"POST /v1/accounts/{id}/token"}
    assert all(f"`{shape}`" in section for shape in ("POST/v1/accounts/*/token",))


def test_there_is_no_other_way_in_than_the_api(plain: dict[str, Any]) -> None:
    """No function URL, no load balancer, no second API; this one has https alone."""
    kinds = [resource["Type"] for resource in plain["Resources"].values()]
    doors = (
        "AWS::Lambda::Url",
        "AWS::ElasticLoadBalancing",
        "AWS::ApiGateway::",
        "AWS::CloudFront",
    )

    assert not [kind for kind in kinds if kind.startswith(doors)]
    assert kinds.count("AWS::ApiGatewayV2::Api") == 1
    assert plain["Resources"]["HttpApi"]["Properties"]["Body"]["openapi"].startswith("3.")


def test_a_domain_of_ones_own_speaks_tls_1_2_at_least(plain: dict[str, Any]) -> None:
    domain = plain["Resources"]["ApiDomain"]["Properties"]

    assert [c["SecurityPolicy"] for c in domain["DomainNameConfigurations"]] == ["TLS_1_2"]


def test_no_address_that_we_tell_anybody_is_plain_http(plain: dict[str, Any]) -> None:
    """Neither in a variable, in a stage variable nor in an output."""
    told = json.dumps([plain["Resources"], plain["Outputs"]])

    assert "http://" not in told


def test_the_access_log_is_json_without_path_query_or_header(plain: dict[str, Any]) -> None:
    """Session ids, codes and states stand in the path, the query and the cookies."""
    settings = _stage(plain)["AccessLogSettings"]
    variables = set(re.findall(r"\$context\.([\w.]+)", settings["Format"]))

    assert settings["DestinationArn"] == {"Fn::GetAtt": ["AccessLogs", "Arn"]}
    assert isinstance(json.loads(settings["Format"]), dict)
    assert "\n" not in settings["Format"]
    assert variables == {
        "requestId",
        "requestTime",
        "routeKey",
        "status",
        "identity.userArn",
        "responseLatency",
        "integrationLatency",
        "integrationStatus",
        "integrationErrorMessage",
        "error.message",
    }


def test_the_stage_tells_the_functions_where_they_are_reached(plain: dict[str, Any]) -> None:
    """A function's variable cannot: the API is made of the functions."""
    value = _stage(plain)["StageVariables"]["public_base_url"]

    assert value["Fn::If"][0] == "HasPublicBaseUrl"
    assert value["Fn::If"][2]["Fn::If"][0] == "HasCustomDomain"
    assert value["Fn::If"][2]["Fn::If"][2] == {
        "Fn::Sub": "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"
    }


def test_one_address_answers_where_there_is_a_domain(plain: dict[str, Any]) -> None:
    body = plain["Resources"]["HttpApi"]["Properties"]["Body"]
    (server,) = body["servers"]

    assert server["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"] == {
        "Fn::If": ["HasCustomDomain", True, False]
    }


def test_problems_of_the_definition_stop_the_deployment(plain: dict[str, Any]) -> None:
    api = plain["Resources"]["HttpApi"]["Properties"]

    assert api["FailOnWarnings"] is True
    assert "x-amazon-apigateway-cors" not in api["Body"]


def _arn_of(function: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [function, "Arn"]}


def _stage(plain: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = plain["Resources"]["HttpApiApiGatewayDefaultStage"]["Properties"]
    return properties
