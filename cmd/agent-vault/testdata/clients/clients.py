"""LIBRARY[-HOW] CELL URL FILE: what the matrix of clients asks of each library."""
import asyncio
import hashlib
import os
import sys

library, cell, url, file = sys.argv[1:5]
library, _, how = library.partition("-")  # how: as the recipe says
say = lambda *words: print(*words, flush=True)


def digest(pieces):
    h = hashlib.sha256()
    for piece in pieces:
        h.update(piece)
    say(h.hexdigest())


def urllib_():
    import urllib.error
    import urllib.request
    try:
        data = open(file, "rb") if cell == "upload" else None
        answer = urllib.request.urlopen(urllib.request.Request(url, data, method="PUT" if data else None))
    except urllib.error.HTTPError as refused:
        answer = refused
    if cell == "stream":
        digest(iter(lambda: answer.read(65536), b""))
    elif cell == "events":
        for line in answer:
            say(line.decode().strip())
    else:
        say(answer.status, answer.read().decode())


def requests_():
    import requests
    if cell == "upload":
        answer = requests.put(url, data=open(file, "rb"))
    else:
        answer = requests.get(url, stream=cell in ("stream", "events"))
    if cell == "stream":
        digest(answer.iter_content(65536))
    elif cell == "events":
        for line in answer.iter_lines(chunk_size=1):
            say(line.decode())
    else:
        say(answer.status_code, answer.text)


def httpx_():
    import httpx
    client = httpx.Client(http2=cell == "http2", timeout=30)
    if cell == "upload":
        say(client.put(url, content=open(file, "rb")).status_code)
    elif cell in ("stream", "events"):
        with client.stream("GET", url) as answer:
            if cell == "stream":
                digest(answer.iter_bytes())
            else:
                for line in answer.iter_lines():
                    say(line)
    else:
        answer = client.get(url)
        say(answer.http_version, answer.status_code, answer.text)


def urllib3_(pool):
    data = open(file, "rb") if cell == "upload" else None
    answer = pool.request("PUT" if data else "GET", url, body=data, preload_content=False)
    if cell == "stream":
        digest(answer.stream(65536))
    elif cell == "events":
        for line in iter(answer.readline, b""):
            say(line.decode().strip())
    else:
        say(answer.status, answer.read().decode())


async def aiohttp_(**options):
    import aiohttp
    async with aiohttp.ClientSession(**options) as session:
        if cell == "websocket":
            async with session.ws_connect(url) as socket:
                await socket.send_str("hello")
                say(await socket.receive_str())
            return
        ask = session.put(url, data=open(file, "rb")) if cell == "upload" else session.get(url)
        async with ask as answer:
            if cell == "stream":
                digest([piece async for piece in answer.content.iter_chunked(65536)])
            elif cell == "events":
                async for line in answer.content:
                    say(line.decode().strip())
            else:
                say(answer.status, await answer.text())


def websockets_():
    from websockets.sync.client import connect
    with connect(url) as socket:
        socket.send("hello")
        say(socket.recv())


def boto3_():
    import boto3
    from botocore.config import Config
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="dummy", aws_secret_access_key="dummy",
                      config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
                      endpoint_url="https://refused.test" if cell == "refused" else "https://s3.us-east-1.amazonaws.com")
    if cell == "stream":
        digest(s3.get_object(Bucket="bucket", Key="content")["Body"].iter_chunks(65536))
    elif cell == "upload":
        s3.upload_file(file, "bucket", "upload")
    else:
        say([bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])


def openai_():
    from openai import OpenAI
    client = OpenAI(api_key="dummy", max_retries=0, **({"base_url": "https://refused.test/v1"} if cell == "refused" else {}))
    messages = [{"role": "user", "content": "hello"}]
    if cell == "stream":
        digest(client.files.content("f").iter_bytes())
    elif cell == "upload":
        client.files.create(file=open(file, "rb"), purpose="assistants")
    elif cell == "events":
        for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
            say(chunk.choices[0].delta.content)
    else:
        say(client.chat.completions.create(model="m", messages=messages).choices[0].message.content)


def anthropic_():
    from anthropic import Anthropic
    client = Anthropic(api_key="dummy", max_retries=0, **({"base_url": "https://refused.test"} if cell == "refused" else {}))
    ask = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
    if cell == "upload":
        client.beta.files.upload(file=open(file, "rb"))
    elif cell == "events":
        with client.messages.stream(**ask) as stream:
            for text in stream.text_stream:
                say(text)
    else:
        say(client.messages.create(**ask).content[0].text)


def stripe_():
    import stripe
    if how == "ca":
        stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]
    client = stripe.StripeClient("sk_test_dummy", max_network_retries=0, **({"base_addresses": {"api": "https://refused.test"}} if cell == "refused" else {}))
    if cell == "upload":
        client.v1.files.create({"purpose": "dispute_evidence", "file": open(file, "rb")})
    else:
        say(client.v1.customers.retrieve("cus_1").description)


def langchain_():
    from langchain_openai import ChatOpenAI
    model = ChatOpenAI(model="m", api_key="dummy", max_retries=0, **({"base_url": "https://refused.test/v1"} if cell == "refused" else {}))
    if cell == "events":
        for chunk in model.stream("hello"):
            say(chunk.content)
    else:
        say(model.invoke("hello").content)


if library == "aiohttp":
    asyncio.run(aiohttp_(**({"trust_env": True} if how else {})))
elif library == "urllib3" and not how:
    import urllib3
    urllib3_(urllib3.PoolManager())
elif library == "urllib3":
    import urllib3
    proxy = urllib3.util.parse_url(os.environ["HTTPS_PROXY"])
    headers = urllib3.make_headers(proxy_basic_auth=proxy.auth) if proxy.auth else None
    urllib3_(urllib3.ProxyManager(os.environ["HTTPS_PROXY"], proxy_headers=headers, ca_certs=os.environ["SSL_CERT_FILE"]))
elif how == "text":
    import openai
    try:
        globals()[library + "_"]()
    except openai.APIStatusError as refused:
        say(refused.response.text)
else:
    globals()[library + "_"]()
