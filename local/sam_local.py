"""`make sam-local`: the built functions behind `sam local start-api`, in Docker, as AWS runs them.

Says what is missing where Docker or Lambda's Python image is not there. The local world
(`make run`) needs neither and does more: `sam local` checks no signature, so that the routes under
/v1 answer 403 there (handlers fail closed) and are run by `sam local invoke` with an event instead.

STACK=<name> uses the tables, queues and keys of a deployed stack, by your own AWS credentials.
Without it the resources are made up, your credentials stay out of it, and what asks AWS fails.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from local.deploy import Template, function_name, read_template
from local.sam_env import ROOT, deployed_stack, made_up_stack, variables_of

BUILT_TEMPLATE = Path(".aws-sam/build/template.yaml")
ENV_FILE = Path(".aws-sam/env.json")
SAM = ".venv-sam/bin/sam"
_NO_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    "AWS_MAX_ATTEMPTS": "1",
}


def lambda_image() -> str:
    """The base image that `sam local` runs functions of this machine's architecture in."""
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
    return f"public.ecr.aws/lambda/python:3.13-{machine}"


def missing_parts() -> list[str]:
    """What `sam local` needs and this machine lacks, each with its cure; empty if all is there."""
    if shutil.which("docker") is None:
        return [
            "Docker is not installed. sam local runs each function in a container.",
            "  Install Docker (https://docs.docker.com/engine/install/), then: make sam-local",
        ]
    if not _succeeds("docker", "info"):
        return [
            "The Docker engine does not answer: it is not running, or this user may not use it.",
            "  Start it (systemctl start docker, or Docker Desktop), see that `docker info` works,"
            " then: make sam-local",
        ]
    if not _succeeds("docker", "image", "inspect", lambda_image()):
        return [
            f"Lambda's Python image {lambda_image()} is not on this machine.",
            f"  docker pull {lambda_image()}",
        ]
    return []


def invocations(template: Template, events: Path) -> list[str]:
    """One `sam local invoke` for each event file."""
    names = {
        function_name(name): name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    return [
        f"SAM_CLI_TELEMETRY=0 {SAM} local invoke {names[file.name.split('-')[0]]}"
        f" --env-vars {ENV_FILE} --event {file}"
        for file in sorted(events.glob("*.json"))
    ]


def start(environment: Mapping[str, str]) -> None:
    """Become `sam local start-api`."""
    stack = environment.get("STACK")
    template = read_template(Path("template.yaml"))
    port = environment.get("GATEWAY_PORT", "3000")
    base_url = f"http://127.0.0.1:{port}"
    values = (
        deployed_stack(stack, base_url=base_url)
        if stack
        else made_up_stack(template, base_url=base_url)
    )
    ENV_FILE.write_text(json.dumps(variables_of(template, values), indent=2) + "\n")
    sys.stdout.write("To run one function with an event, in another terminal:\n\n")
    sys.stdout.write("\n".join(invocations(template, Path("events"))) + "\n\n")
    sys.stdout.write(f"Resources: {stack or 'made up; STACK=<name> uses those of a stack'}\n")
    sys.stdout.flush()
    command = [SAM, "local", "start-api", "--template", str(BUILT_TEMPLATE)]
    command += ["--env-vars", str(ENV_FILE), "--host", "127.0.0.1"]
    command += ["--port", port, "--skip-pull-image"]
    own = {"SAM_CLI_TELEMETRY": "0"} | ({} if stack else _NO_CREDENTIALS)
    os.execve(SAM, command, {**environment, **own})  # noqa: S606 - a fixed program, no shell


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> None:
    os.chdir(ROOT)
    (step,) = sys.argv[1:]
    if missing := missing_parts():
        sys.exit("\n".join(missing))
    if step == "start":
        start(os.environ)


if __name__ == "__main__":
    main()
