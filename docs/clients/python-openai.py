"""OpenAI: the key is the session's token, which the vault replaces."""
import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["AGENT_VAULT_ADDR"] + "/proxy/api.openai.com/v1",
    api_key=os.environ["AGENT_VAULT_SESSION_TOKEN"],
)
answer = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
