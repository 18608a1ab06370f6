// Vercel's AI SDK: a provider with a base URL and a key.
import {createOpenAI} from "@ai-sdk/openai";
import {generateText} from "ai";

const openai = createOpenAI({
  baseURL: process.env.AGENT_VAULT_ADDR + "/proxy/api.openai.com/v1",
  apiKey: process.env.AGENT_VAULT_SESSION_TOKEN,
});
console.log((await generateText({model: openai.chat("gpt-5-mini"), prompt: "Hello"})).text);
