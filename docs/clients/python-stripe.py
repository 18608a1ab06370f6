"""Stripe: each of its addresses behind the vault. Sends to 127.0.0.1 want no certificate."""
import os

import stripe

PROXY = os.environ["AGENT_VAULT_ADDR"] + "/proxy/"
client = stripe.StripeClient(
    os.environ["AGENT_VAULT_SESSION_TOKEN"],
    base_addresses={"api": PROXY + "api.stripe.com", "files": PROXY + "files.stripe.com"},
)
print(client.v1.customers.retrieve("cus_1").description)
