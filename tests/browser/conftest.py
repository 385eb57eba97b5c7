"""Debian's Chromium in front of the world, and a folder for what it saw."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from local.configuration import ROOT

SCREENSHOTS = ROOT / "artifacts" / "screenshots"
