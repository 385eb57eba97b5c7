"""The local world: everything that `make run` starts, from the one template.yaml, on loopback.

Started by `python -m local.world`: an API front that makes exact payload-2.0 events, each function
in processes of its own, the AWS services from MiniStack, a TikTok that behaves (`local.tiktok`)
and a small sample product (`local.app`). No AWS account, no Docker. Nothing in the deployed package
imports this one.

Beside it, for operators of a deployed stack: `local.rewrapping` and `local.restoring`.
"""
