from __future__ import annotations

from tests.template.conftest import plain, template

__all__ = ["plain", "template"]
