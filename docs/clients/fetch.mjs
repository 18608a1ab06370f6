// Any API with fetch, which needs neither a proxy nor a certificate here.
const {AGENT_VAULT_ADDR, AGENT_VAULT_SESSION_TOKEN} = process.env;

const behindVault = (url, options = {}) => {
  const headers = new Headers(options.headers);
  headers.set("Authorization", "Bearer " + AGENT_VAULT_SESSION_TOKEN);
  return fetch(String(url).replace("https://", AGENT_VAULT_ADDR + "/proxy/"), {...options, headers});
};

const answer = await behindVault("https://api.github.com/user");
const body = await answer.json();
if (answer.headers.has("X-Agent-Vault-Proxy-Error")) throw new Error(body.message);
console.log(body.login);
