// OpenAI: the key is the session's token, which the vault replaces.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.AGENT_VAULT_ADDR + "/proxy/api.openai.com/v1",
  apiKey: process.env.AGENT_VAULT_SESSION_TOKEN,
});
const answer = await client.chat.completions.create({model: "gpt-5-mini", messages: [{role: "user", content: "Hello"}]});
console.log(answer.choices[0].message.content);
