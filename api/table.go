package api

import "net/http"

// table is every route that this server has, and the order of the OpenAPI
// document. A new route is a line here and a handler in the file of its noun.
func (s *server) table() []section { return append(s.instanceTable(), s.vaultTable()...) }

// instanceTable is of the instance and its people.
func (s *server) instanceTable() []section {
	return []section{
		about("server", "The server itself.",
			on("GET /health", "health", "Say that the server runs.", public, s.health),
			on("GET /ready", "ready", "Say whether this node can decide on agents' requests.", public, s.ready),
			on("GET /v1/status", "status", "Say whether the instance has an owner.", public, s.status),
			on("GET /v1/server", "server", "Say what this server is, where it listens, and how its audit log is.", person, s.aboutServer),
			raw("GET /v1/mitm/ca.pem", "caCertificate", "Get the root certificate of the proxy entrance.", "application/x-pem-file", s.caPEM),
			raw("GET /v1/openapi.json", "openAPI", "Get this document.", "application/json", s.openAPI),
		),
		s.metrics(),
		about("auth", "People and their sign-ins.",
			on("POST /v1/auth/register", "register", "Become the owner of an instance that has none.", public, s.register).created().slow(),
			on("POST /v1/auth/login", "login", "Sign in.", public, s.login).slow(),
			on("POST /v1/auth/logout", "logout", "End the sign-in that the token is of.", person, s.logout),
			on("GET /v1/auth/me", "me", "Say whose token it is.", person, s.me),
			on("POST /v1/auth/join", "join", "Become a user, by an invite.", public, s.join).created().slow(),
			on("POST /v1/auth/reauthenticate", "reauthenticate", "Give the password again, so that the sign-in may do what widens somebody's reach for five minutes.", person, s.reauthenticate).slow(),
			on("PUT /v1/auth/password", "changePassword", "Change one's password. One's other sign-ins end.", person, s.changePassword).slow(),
			on("GET /v1/auth/logins", "listLogins", "List one's sign-ins.", person, s.listLogins),
			on("DELETE /v1/auth/logins/{id}", "revokeLogin", "End one of one's sign-ins.", person, s.revokeLogin),
			reading[inviteToken](raw("GET /join/{token}", "joinLink", "Say how to redeem a user's invite.", "text/plain", s.joinLink)),
		),
		about("users", "The instance's users.",
			on("GET /v1/users", "listUsers", "List the users.", person, s.listUsers),
			on("PATCH /v1/users/{email}", "setUserRole", "Change a user's role on the instance.", person, s.setUserRole).widening(),
			on("DELETE /v1/users/{email}", "removeUser", "Remove a user, with their sign-ins and sessions.", person, s.removeUser),
			on("GET /v1/users/invites", "listUserInvites", "List the invites of users.", person, s.listUserInvites),
			on("POST /v1/users/invites", "inviteUser", "Make a link that makes one user.", person, s.inviteUser).pending().widening().created(),
			on("DELETE /v1/users/invites/{id}", "revokeUserInvite", "Revoke a user's invite.", person, s.revokeUserInvite),
		),
	}
}

// vaultTable is of what is in vaults, and of who uses it.
func (s *server) vaultTable() []section {
	return []section{
		about("agents' questions", "What agents ask.",
			on("GET /discover", "discover", "List the services and credentials that the agent may use.", agent, s.discover),
		),
		about("vaults", "Vaults, their services and credentials.",
			on("GET /v1/vaults", "listVaults", "List the vaults.", person, s.listVaults),
			on("POST /v1/vaults", "createVault", "Make an empty vault.", person, s.createVault).created(),
			on("GET /v1/vaults/{name}", "getVault", "Get a vault.", person, s.getVault),
			on("PATCH /v1/vaults/{name}", "changeVault", "Rename a vault, or say what becomes of hosts that no service names.", person, s.changeVault).widening(),
			on("DELETE /v1/vaults/{name}", "deleteVault", "Remove a vault with all that is in it.", person, s.deleteVault),
			on("GET /v1/vaults/{name}/services", "listServices", "List a vault's services.", person, s.listServices),
			on("PUT /v1/vaults/{name}/services", "setServices", "Replace all services of a vault.", person, s.putServices).widening(),
			on("POST /v1/vaults/{name}/services", "addServices", "Add services to those that a vault has.", person, s.addServices).widening().created(),
			on("POST /v1/vaults/{name}/services/review", "reviewServices", "Say what adding services would let through, and what one could overlook.", person, s.reviewServices),
			on("GET /v1/vaults/{name}/state", "serviceStates", "Say of each service of a vault whether agents can use it, and when one last did.", person, s.serviceStates),
			on("GET /v1/vaults/{name}/services/{service}", "getService", "Get a service.", person, s.getService),
			on("PATCH /v1/vaults/{name}/services/{service}", "changeService", "Enable or disable a service, or change its switches.", person, s.patchService).widening(),
			on("DELETE /v1/vaults/{name}/services/{service}", "removeService", "Remove a service.", person, s.removeService).widening(),
			on("GET /v1/vaults/{name}/members", "listMembers", "List who has a role in a vault.", person, s.listMembers),
			on("PUT /v1/vaults/{name}/members/{email}", "setMember", "Give a user a role in a vault.", person, s.setMember).widening(),
			on("DELETE /v1/vaults/{name}/members/{email}", "removeMember", "Take a user's role in a vault away.", person, s.removeMember),
			on("POST /v1/vaults/{name}/catalog", "addFromCatalog", "Add an entry of the catalog to a vault, with its credentials.", person, s.addFromCatalog).widening().created(),
			on("GET /v1/credentials", "listCredentials", "List a vault's credentials, without values.", person, s.listCredentials),
			on("POST /v1/credentials", "setCredentials", "Store values; other credentials stay.", person, s.setCredentials),
			on("DELETE /v1/credentials/{key}", "deleteCredential", "Remove a credential.", person, s.deleteCredential),
			on("GET /v1/credentials/{key}/dummy", "getDummy", "Get the dummy of a credential: of the shape that clients check, and worth nothing.", person, s.getDummy),
			on("GET /v1/credentials/{key}/versions", "listVersions", "List a credential's earlier versions, without values.", person, s.listVersions),
			on("POST /v1/credentials/{key}/rollback", "rollBackCredential", "Make an earlier value of a credential its newest.", person, s.rollBack),
			on("POST /v1/apply", "apply", "Make vaults be as declared.", person, s.apply).widening().upTo(maxApplyBody),
		),
		about("catalog", "Real APIs, ready to be added to a vault.",
			on("GET /v1/catalog", "listCatalog", "List the catalog.", public, s.listCatalog),
			on("GET /v1/catalog/{name}", "getCatalogEntry", "Get an entry of the catalog.", public, s.getCatalogEntry),
		),
		about("sessions", "Sessions, each of which lets an agent use one vault for a time.",
			on("GET /v1/sessions", "listSessions", "List a vault's sessions that have not ended.", person, s.listSessions),
			on("POST /v1/sessions", "mintSession", "Make a session. Its token is shown this once.", person, s.mintSession),
			on("POST /v1/sessions/renew", "renewLease", "Renew the lease of a session.", lease, s.renewLease),
			on("DELETE /v1/sessions/self", "revokeSelf", "End the session that the token is of.", agent, s.revokeSelf),
			on("DELETE /v1/sessions/{id}", "revokeSession", "End a session.", person, s.revokeSession),
		),
		about("agents", "Agents with tokens of their own.",
			on("GET /v1/agents", "listAgents", "List the agents.", person, s.listAgents),
			on("POST /v1/agents", "createAgent", "Make an agent. Its token is shown this once.", person, s.createAgent).widening().created(),
			on("POST /v1/agents/{name}/rotate", "rotateAgent", "Give an agent a new token. The old one no longer works.", person, s.rotateAgent).widening(),
			on("POST /v1/agents/{name}/revoke", "revokeAgent", "End an agent's token. The agent stays.", person, s.revokeAgent),
			on("PATCH /v1/agents/{name}", "renameAgent", "Rename an agent.", person, s.renameAgent),
			on("DELETE /v1/agents/{name}", "deleteAgent", "Remove an agent.", person, s.deleteAgent),
			on("PUT /v1/agents/{name}/vaults/{vault}", "grantVault", "Let an agent use a vault, or some of its services.", person, s.grantVault).widening(),
			on("DELETE /v1/agents/{name}/vaults/{vault}", "revokeVault", "Take a vault away from an agent.", person, s.revokeVault),
			on("GET /v1/agents/invites", "listAgentInvites", "List the invites of agents.", person, s.listAgentInvites),
			on("POST /v1/agents/invites", "inviteAgent", "Make a link that makes one agent.", person, s.inviteAgent).pending().widening().created(),
			on("DELETE /v1/agents/invites/{id}", "revokeAgentInvite", "Revoke an agent's invite.", person, s.revokeAgentInvite),
			on("POST /invite/{token}", "redeemAgent", "Become an agent, by an invite. The token is shown this once, and the body does not matter.", public, s.redeemAgent).forAgents(),
		),
		about("proposals", "What agents ask for, and people decide.",
			on("POST /v1/proposals", "propose", "Ask for services and credentials.", signedIn, s.propose).pending().created(),
			on("GET /v1/proposals", "listProposals", "List proposals, newest first: agents see their own.", signedIn, s.listProposals),
			on("GET /v1/proposals/{id}", "getProposal", "Get a proposal, or wait for its decision.", signedIn, s.getProposal),
			on("GET /v1/proposals/{id}/review", "reviewProposal", "Get a proposal with what it would change.", person, s.reviewProposal),
			on("POST /v1/proposals/{id}/approve", "approveProposal", "Apply a proposal.", person, s.approve).widening(),
			on("POST /v1/proposals/{id}/reject", "rejectProposal", "Reject a proposal.", person, s.reject),
			reading[linkIn](raw("GET /approve/{id}", "approveLink", "Show a proposal to whoever has its link, for a day.", "text/plain", s.approveLink)).orJSONOf(LinkedProposal{}),
		),
		about("record", "What happened.",
			on("GET /v1/logs", "listRequests", "List requests, newest first, or wait for new ones.", person, s.listRequests),
			on("GET /v1/logs/series", "requestSeries", "Count requests over time: how many, how many of them refused, and how long they took.", person, s.requestSeries),
			on("GET /v1/hosts", "listHosts", "List hosts that agents asked for and no service names, most frequent first.", person, s.listHosts),
			on("GET /v1/events", "listEvents", "List changes, newest first.", person, s.listEvents),
		),
		about("policy", "What would happen.",
			on("GET /v1/policy/check", "checkPolicy", "Say what would happen to a request, and why.", person, s.checkPolicy),
			on("POST /v1/policy/check", "explainPolicy", "Say what would happen to a request with a header and a body, and why.", person, s.explainPolicy).upTo(maxApplyBody),
			on("POST /v1/policy/replay", "replayPolicy", "Say which recorded requests other services would decide otherwise.", person, s.replayPolicy).upTo(maxApplyBody),
		),
	}
}

func (s *server) metrics() section {
	if s.Metrics == nil {
		return section{}
	}
	return about("server", "", raw("GET /metrics", "metrics", "Get the metrics, in Prometheus' format.", "text/plain", func(w http.ResponseWriter, r *http.Request) { s.Metrics.ServeHTTP(w, r) }))
}
