"""Any API with requests: a session that asks the vault."""
import os

import requests

BASE = os.environ["AGENT_VAULT_ADDR"] + "/proxy/"
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["AGENT_VAULT_SESSION_TOKEN"]
session.trust_env = False  # no .netrc, which would take the token's place

answer = session.get(BASE + "api.github.com/user")
if answer.headers.get("X-Agent-Vault-Proxy-Error"):
    raise SystemExit(answer.json()["message"])  # the vault's own answer says what to do
print(answer.json()["login"])
