"""Link TikTok accounts and keep the links alive.

Where things are, from the inside out:

* ``errors``, ``accounts``, ``sessions``, ``schedule``, ``brand``: the words of the domain as plain
  values.
* ``oauth``, ``webhook``: TikTok's protocol without a socket: build a request, read an answer.
* ``ports``: what the use cases need from the world, as Protocols.
* ``renewal``: the only code that spends a refresh token.
* ``authorizing``, ``linking``, ``vending``, ``unlinking``, ``removing``, ``directory``: the use
  cases, one module each.
* ``adapters``, ``web``, ``settings``, ``observability``: AWS, HTTP, configuration, logs.
* ``bootstrap``: the composition root, the only module that names concrete adapters.

Each module may import what stands above it in this list and nothing below; import-linter holds it.
"""
