// Stripe has no base URL with a path: its client of HTTP is one that asks the vault.
import Stripe from "stripe";

const {AGENT_VAULT_ADDR, AGENT_VAULT_SESSION_TOKEN} = process.env;
const behindVault = (url, options) => fetch(String(url).replace("https://", AGENT_VAULT_ADDR + "/proxy/").replace(":443/", "/"), options);

const stripe = new Stripe(AGENT_VAULT_SESSION_TOKEN, {httpClient: Stripe.createFetchHttpClient(behindVault)});
console.log((await stripe.customers.retrieve("cus_1")).description);
