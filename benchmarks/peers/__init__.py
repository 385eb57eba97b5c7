"""What a user would write or install instead, for `make bench`: plainly, as documents show it.

``usual`` is the usual stack on Lambda: Powertools' resolver with validation and its tracer, the
boto3 resource, requests, KMS for each secret. ``floor`` is a function that signs its one request
by hand. ``with_allauth`` and ``with_authlib`` link a TikTok account by django-allauth's provider
and by Authlib's Flask client.
"""
