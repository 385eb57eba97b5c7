"""KMS for each record: one Encrypt of one token."""

import os

import boto3

kms = boto3.client("kms")


def lambda_handler(event, context):
    """Seal a token."""
    sealed = kms.encrypt(KeyId=os.environ["PEER_KEY"], Plaintext=event["token"].encode())
    return {"sealed": len(sealed["CiphertextBlob"])}
