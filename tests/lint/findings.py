"""What linters find that look for more than style. `make check` runs it:

    python -m tests.lint.findings .venv-lint/bin artifacts/template.translated.json

semgrep with the rules of rules.yaml, detect-secrets over all files of the repository, checkov and
parliament over the translated template. A finding passes only with a reason in accepted.toml, and
an entry that matches nothing any more fails. Each tool also has to find something that is surely
there, so that one which looks at nothing does not pass for one that finds nothing.

The tools run with a proxy that nobody answers at: none of them has anything to say to the network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ACCEPTED = HERE / "accepted.toml"
SNIPPETS = HERE / "snippets.py"
PLUGIN = HERE / "tiktok_tokens.py"
SHORTEST_REASON = 25

_NOWHERE = "http://127.0.0.1:9"
_SILENCE = {
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "ALL_PROXY": _NOWHERE,
    "SEMGREP_SEND_METRICS": "off",
    "SEMGREP_ENABLE_VERSION_CHECK": "0",
    "LOG_LEVEL": "ERROR",  # checkov's
    "PYTHONWARNINGS": "ignore",  # parliament's regular expressions
}
# The plugins for what this project's people could paste: keys of AWS, private keys, tokens and
# secrets of TikTok. Each plugin costs time for every line; the others know products not used here.
_SECRET_KINDS = frozenset(
    {
        "AWSKeyDetector",
        "Base64HighEntropyString",
        "BasicAuthDetector",
        "HexHighEntropyString",
        "JwtTokenDetector",
        "KeywordDetector",
        "PrivateKeyDetector",
    }
)
# The pins' hashes, and the hashes of what is accepted.
_NO_SECRETS = (
    r"^(requirements/\w+\.txt|layers/linking/requirements\.txt|tests/lint/accepted\.toml)$"
)
_MISSPELT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "dynamodb:GetItems", "Resource": "*"}],
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What a tool says: which rule, about what. ``value`` is the beginning of a secret's SHA-1."""

    tool: str
    rule: str
    where: str
    value: str = ""

    def __str__(self) -> str:
        value = f" (value {self.value})" if self.value else ""
        return f"{self.tool}: {self.rule} at {self.where}{value}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One entry of accepted.toml: these findings are left as they are, because."""

    tool: str
    rule: str
    where: tuple[str, ...]
    because: str
    values: tuple[str, ...] = ()

    def covers(self, finding: Finding) -> bool:
        return (
            (self.tool, self.rule) == (finding.tool, finding.rule)
            and any(fnmatchcase(finding.where, pattern) for pattern in self.where)
            and (not self.values or finding.value in self.values)
        )


def read_accepted(file: Path = ACCEPTED) -> list[Accepted]:
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["accepted"]
    return [
        Accepted(
            entry["tool"],
            entry["rule"],
            tuple(entry["where"]),
            entry.get("because", "").strip(),
            tuple(entry.get("values", ())),
        )
        for entry in entries
    ]


def judged(findings: Iterable[Finding], accepted: Iterable[Accepted]) -> list[str]:
    """One line for each finding without a reason, and each reason without a finding."""
    found, entries = sorted(set(findings)), list(accepted)
    problems = [str(one) for one in found if not any(entry.covers(one) for entry in entries)]
    for entry in entries:
        name = f"accepted.toml: {entry.tool} {entry.rule}"
        covered = [one for one in found if entry.covers(one)]
        if len(entry.because) < SHORTEST_REASON:
            problems.append(f"{name} gives no reason")
        for pattern in entry.where:
            if not any(fnmatchcase(one.where, pattern) for one in covered):
                problems.append(f"{name} at {pattern} is found no more: take it out")
        for value in entry.values:
            if value not in {one.value for one in covered}:
                problems.append(f"{name}, value {value}, is found no more: take it out")
    return problems


def expected_in(snippets: str) -> set[tuple[str, int]]:
    """(rule, line) of all that the snippets say must be found."""
    return {
        (rule, number + 1)
        for number, line in enumerate(snippets.splitlines(), start=1)
        if (marked := re.search(r"# ruleid: (.+)", line))
        for rule in marked[1].split(", ")
    }


def semgrep(tools: Path, _template: Path) -> list[Finding]:
    """Our rules over what is deployed; over the snippets they find what these say, and no more."""
    words = [
        "semgrep",
        "scan",
        "--quiet",
        "--json",
        "--metrics=off",
        "--disable-version-check",
        "--disable-nosem",  # accepted.toml is the one place for exceptions
        f"--config={HERE / 'rules.yaml'}",
    ]
    answer = json.loads(_run(tools, *words, "layers", "functions", str(SNIPPETS)))
    found, in_snippets = [], set()
    for result in answer["results"]:
        rule, line = result["check_id"].rpartition(".")[2], result["start"]["line"]
        if Path(result["path"]).name == SNIPPETS.name:
            in_snippets.add((rule, line))
        else:
            found.append(Finding("semgrep", rule, f"{result['path']}:{line}"))
    for rule, line in sorted(in_snippets ^ expected_in(SNIPPETS.read_text(encoding="utf-8"))):
        wrong = "finds" if (rule, line) in in_snippets else "misses"
        found.append(Finding("semgrep", f"{rule} {wrong}", f"{SNIPPETS.name}:{line}"))
    found += [Finding("semgrep", "error", str(error.get("message"))) for error in answer["errors"]]
    return found


def detect_secrets(_tools: Path, _template: Path) -> list[Finding]:
    """All files that git knows.

    By the program of this environment: checkov brings a variant of it under the same name.
    """
    tools = Path(sys.executable).parent
    known = _run(tools, "detect-secrets", "scan", "--list-all-plugins").split()
    words = ["--no-verify", "--exclude-files", _NO_SECRETS, "--plugin", str(PLUGIN)]
    for name in known:
        if name not in _SECRET_KINDS:
            words += ["--disable-plugin", name]
    text = _run(tools, "detect-secrets", "scan", *words)
    return [
        Finding("detect-secrets", one["type"], file, one["hashed_secret"][:10])
        for file, secrets in json.loads(text)["results"].items()
        for one in secrets
    ]


def checkov(tools: Path, template: Path) -> list[Finding]:
    words = ["--framework", "cloudformation", "--skip-download", "--quiet", "--output", "json"]
    results = json.loads(_run(tools, "checkov", "-f", str(template), *words))["results"]
    errors = results.get("parsing_errors") or []
    return [
        Finding("checkov", one["check_id"], one["resource"].rpartition(".")[2])
        for one in results["failed_checks"]
    ] + [Finding("checkov", "error", str(error)) for error in errors]


def parliament(tools: Path, template: Path) -> list[Finding]:
    """Every policy of a role and the backend's, with made-up ARNs; and one that is wrong."""
    resources = json.loads(template.read_text(encoding="utf-8"))["Resources"]
    policies = dict(identity_policies(resources))
    with tempfile.TemporaryDirectory() as folder:
        for name, document in {**policies, "misspelt": _MISSPELT}.items():
            (Path(folder) / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        lines = _run(tools, "parliament", "--directory", folder, "--json").splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    found = [
        Finding("parliament", one["issue"], Path(one["location"].get("filepath") or "").stem)
        for one in answers
    ]
    surely = Finding("parliament", "UNKNOWN_ACTION", "misspelt")
    if surely not in found:
        found.append(Finding("parliament", "finds nothing", "the misspelt policy"))
    return [one for one in found if one != surely]


def identity_policies(resources: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """(name, document) of what roles may do, intrinsic functions filled in.

    SAM writes no Version where a function lists statements. IAM then takes the older one, which
    knows no policy variables; a test shows that none is used.
    """
    for logical_id, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::Role":
            for inline in properties.get("Policies", ()):
                document = inline["PolicyDocument"]
                name = f"{logical_id}.{len(document['Statement'])}.{inline['PolicyName']}"
                yield re.sub(r"\W+", "-", name), _of_today(_filled_in(document, resources))
        elif resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            yield logical_id, _of_today(_filled_in(properties["PolicyDocument"], resources))


def _of_today(document: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", **document}


_HERE = "us-east-1:123456789012"
_ARNS = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{_HERE}:table/{{}}",
    "AWS::Events::EventBus": f"arn:aws:events:{_HERE}:event-bus/{{}}",
    "AWS::KMS::Key": f"arn:aws:kms:{_HERE}:key/{{}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{_HERE}:function:{{}}",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{_HERE}:secret:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{_HERE}:{{}}",
}
_ACCOUNT = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "tiktok-linking",
    "AWS::URLSuffix": "amazonaws.com",
}
_PARAMETERS = {
    name: f"arn:aws:kms:{_HERE}:key/{name}" for name in ("SealingKeyArn", "OtherSealingKeyArn")
}


def _filled_in(part: Any, resources: Mapping[str, Any]) -> Any:
    """A policy as IAM would see it: parliament reads ARNs, not CloudFormation."""

    def arn(name: str) -> str:
        return _ARNS[resources[name]["Type"]].format(name)

    def word(found: re.Match[str]) -> str:
        name: str = found[1]
        if name in _ACCOUNT:
            return _ACCOUNT[name]
        return arn(name.removesuffix(".Arn")) if name.endswith(".Arn") else name

    if isinstance(part, list):
        return [_filled_in(inner, resources) for inner in part]
    if not isinstance(part, dict):
        return part
    if "Ref" in part:
        return _ACCOUNT.get(part["Ref"]) or _PARAMETERS.get(part["Ref"]) or arn(part["Ref"])
    if "Fn::GetAtt" in part:
        name, attribute = part["Fn::GetAtt"]
        return arn(name) + ("/stream/2026" if attribute == "StreamArn" else "")
    if "Fn::Sub" in part:
        return re.sub(r"\$\{([^}]+)\}", word, part["Fn::Sub"])
    if "Fn::If" in part:
        return _filled_in(part["Fn::If"][1], resources)
    return {name: _filled_in(inner, resources) for name, inner in part.items()}


def _run(tools: Path, program: str, *words: str) -> str:
    """The tool's output. An exit code of 1 says that it found something, which is judged here."""
    path = f"{tools.resolve()}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [str(tools.resolve() / program), *words],
        cwd=ROOT,
        env={**os.environ, **_SILENCE, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in (0, 1):
        raise SystemExit(f"{program} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


TOOLS: tuple[Callable[[Path, Path], list[Finding]], ...] = (
    checkov,
    semgrep,
    detect_secrets,
    parliament,
)


def main() -> None:
    tools, template = (Path(word) for word in sys.argv[1:])
    with ThreadPoolExecutor(max_workers=2) as pool:
        lists = pool.map(lambda tool: tool(tools, template), TOOLS)
        findings = [finding for found in lists for finding in found]
    accepted = read_accepted()
    if problems := judged(findings, accepted):
        sys.exit("\n".join(problems))
    names = ", ".join(tool.__name__.replace("_", "-") for tool in TOOLS)
    print(
        f"{names}: {len(set(findings))} findings, each with its reason in tests/lint/accepted.toml"
    )


if __name__ == "__main__":
    main()
