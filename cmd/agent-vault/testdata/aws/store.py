# What an agent does with S3, by boto3 as it is: ENDPOINT, and "unsigned" for one
# that has no keys at all. It ends with what it did.
import io
import os
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, bucket = sys.argv[1], sys.argv[2]
options = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}
if "unsigned" in sys.argv:
    options["signature_version"] = UNSIGNED
if "hash" in sys.argv:
    options["s3"]["payload_signing_enabled"] = True
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(**options))

s3.create_bucket(Bucket=bucket)
keys = ["plain.txt", "a b.txt", "a+b.txt", "ü/é€.txt", "x%2Fy", "%zz", "quote'(1)!*.txt", "semi;colon=&?#", "~tilde_-.", "[x]{y}|z^`", "@:$,", "folder/in/folder.txt"]
for key in keys:
    body = ("content of " + key).encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/plain; charset=utf-8", Metadata={"note": "two  spaces"})
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == body, key
    assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-6")["Body"].read() == b"content", key

pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5})
listed = [o["Key"] for page in pages for o in page.get("Contents", [])]
assert sorted(listed) == sorted(keys), listed
some = s3.list_objects_v2(Bucket=bucket, Prefix="a ", Delimiter="/")
assert [o["Key"] for o in some["Contents"]] == ["a b.txt"], some
assert [p["Prefix"] for p in s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="ü")["CommonPrefixes"]] == ["ü/"]

big = os.urandom(1 << 20) * 20
s3.upload_fileobj(io.BytesIO(big), bucket, "big file.bin", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
back = io.BytesIO()
s3.download_fileobj(bucket, "big file.bin", back)
assert back.getvalue() == big, "the large file is another"
s3.copy_object(Bucket=bucket, Key="copy.txt", CopySource={"Bucket": bucket, "Key": "a b.txt"})

try:
    s3.get_object(Bucket=bucket, Key="missing")
    raise AssertionError("a missing key was found")
except ClientError as e:
    assert e.response["Error"]["Code"] == "NoSuchKey", e
s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys + ["copy.txt"]]})
s3.delete_object(Bucket=bucket, Key="big file.bin")
s3.delete_bucket(Bucket=bucket)
print(len(keys), "keys and", len(big) >> 20, "MiB, with boto3", boto3.__version__)
