"""LangChain, as OpenAI: base URL and key."""
import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="gpt-5-mini",
    base_url=os.environ["AGENT_VAULT_ADDR"] + "/proxy/api.openai.com/v1",
    api_key=os.environ["AGENT_VAULT_SESSION_TOKEN"],
)
print(model.invoke("Hello").content)
