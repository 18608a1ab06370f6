"""AWS, where the service's kind is aws-sigv4: the token goes in as the id of the key (docs/auth/aws-sigv4.md)."""
import os

import boto3
from botocore.config import Config

s3 = boto3.client(
    "s3",
    region_name="us-east-1",
    endpoint_url=os.environ["AGENT_VAULT_ADDR"] + "/proxy/s3.us-east-1.amazonaws.com",
    aws_access_key_id=os.environ["AGENT_VAULT_SESSION_TOKEN"],
    aws_secret_access_key="unused",
    config=Config(s3={"addressing_style": "path"}),
)
print([bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])
