"""cfn-lint over the template as written and as translated: it sees different things in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cfnlint.api import ManualArgs, lint_file

from tests.template.conftest import ROOT


def test_the_template_as_written_has_no_finding() -> None:
    assert _findings(ROOT / "template.yaml") == []


def test_the_template_as_translated_has_no_finding(plain: dict[str, Any], tmp_path: Path) -> None:
    """Roles, permissions, the stage and the API's definition exist only here."""
    file = tmp_path / "translated.json"
    file.write_text(json.dumps(plain), encoding="utf-8")

    assert _findings(file) == []


def test_a_finding_would_be_found(tmp_path: Path) -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeOut": 1}}
    file = tmp_path / "broken.json"
    file.write_text(json.dumps({"Resources": {"RenewalQueue": queue}}), encoding="utf-8")

    assert "E3002" in " ".join(_findings(file))


def _findings(file: Path) -> list[str]:
    matches = lint_file(file, ManualArgs(regions=["us-east-1"]))
    return [f"{m.rule.id} {m.message} ({m.filename}:{m.linenumber})" for m in matches]
