"""Prints template.yaml as the plain CloudFormation that SAM makes of it, for linters.

    python -m local.translation template.yaml > translated.json

cfn-lint sees more on the translated template than on SAM's: roles, permissions, the API's body.
"""

import json
import sys
from pathlib import Path

from local.deploy import read_template, translated


def main() -> None:
    (file,) = sys.argv[1:]
    sys.stdout.write(json.dumps(translated(read_template(Path(file)), {}), indent=2))


if __name__ == "__main__":
    main()
