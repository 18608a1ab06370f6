"""Any API with httpx: a client whose base URL is a host behind the vault."""
import os

import httpx

client = httpx.Client(
    base_url=os.environ["AGENT_VAULT_ADDR"] + "/proxy/api.github.com",
    headers={"Authorization": "Bearer " + os.environ["AGENT_VAULT_SESSION_TOKEN"]},
    trust_env=False,
)
answer = client.get("/user")
if "X-Agent-Vault-Proxy-Error" in answer.headers:
    raise SystemExit(answer.json()["message"])
print(answer.json()["login"])
