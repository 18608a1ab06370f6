"""Anthropic: auth_token goes out as a bearer token, api_key would not."""
import os

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ["AGENT_VAULT_ADDR"] + "/proxy/api.anthropic.com",
    auth_token=os.environ["AGENT_VAULT_SESSION_TOKEN"],
)
answer = client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "Hello"}])
print(answer.content[0].text)
