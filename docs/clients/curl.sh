#!/bin/sh
# Any URL, behind the path entrance. --fail-with-body prints why one was refused.
curl -sS --fail-with-body -H "Authorization: Bearer $AGENT_VAULT_SESSION_TOKEN" \
	"$AGENT_VAULT_ADDR/proxy/api.github.com/user"
