// Anthropic: authToken goes out as a bearer token, apiKey would not.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: process.env.AGENT_VAULT_ADDR + "/proxy/api.anthropic.com",
  authToken: process.env.AGENT_VAULT_SESSION_TOKEN,
  apiKey: null,
});
const answer = await client.messages.create({model: "claude-haiku-4-5", max_tokens: 100, messages: [{role: "user", content: "Hello"}]});
console.log(answer.content[0].text);
