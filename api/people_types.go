package api

import "time"

// JoinRequest is the body of POST /v1/auth/join.
type JoinRequest struct {
	Token    string `json:"token" doc:"It begins with av_join_."`
	Password string `json:"password"`
}

// PasswordRequest is the body of POST /v1/auth/reauthenticate.
type PasswordRequest struct {
	Password string `json:"password"`
}

// ChangePasswordRequest is the body of PUT /v1/auth/password.
type ChangePasswordRequest struct {
	OldPassword string `json:"old_password"`
	NewPassword string `json:"new_password"`
}

// LoginInfo is a sign-in as the API shows one: never its token.
type LoginInfo struct {
	ID              string    `json:"id"`
	Client          string    `json:"client" doc:"What signed in, by its own words."`
	CreatedAt       time.Time `json:"created_at"`
	AuthenticatedAt time.Time `json:"authenticated_at" doc:"When the password was given last."`
	SeenAt          time.Time `json:"seen_at" doc:"To the minute."`
	EndsAt          time.Time `json:"ends_at" doc:"When it ends if it is not used any more."`
	Current         bool      `json:"current" doc:"The one that this request was sent with."`
}

// LoginList is the body of GET /v1/auth/logins.
type LoginList struct {
	Logins []LoginInfo `json:"logins"`
}

// VaultRole is a person's role in a vault.
type VaultRole struct {
	VaultName string `json:"vault_name"`
	VaultRole string `json:"vault_role" enum:"proxy,member,admin"`
}

// UserDetail is a person with the roles in vaults.
type UserDetail struct {
	UserInfo
	Vaults    []VaultRole `json:"vaults"`
	CreatedAt time.Time   `json:"created_at"`
}

// UserList is the body of GET /v1/users.
type UserList struct {
	Users []UserDetail `json:"users"`
}

// RoleRequest is the body of PATCH /v1/users/{email}.
type RoleRequest struct {
	Role string `json:"role" enum:"owner,member,no-access" doc:"On the instance."`
}

// UserInviteRequest is the body of POST /v1/users/invites.
type UserInviteRequest struct {
	Email      string      `json:"email"`
	Role       string      `json:"role,omitempty" enum:"owner,member,no-access" default:"member" doc:"On the instance."`
	Vaults     []VaultRole `json:"vaults,omitempty"`
	TTLSeconds *int64      `json:"ttl_seconds,omitempty" minimum:"60" maximum:"604800" default:"86400" doc:"Of the invite."`
}

// UserInviteResponse is a new invite of a user, with its link.
type UserInviteResponse struct {
	ID         string    `json:"id"`
	Email      string    `json:"email"`
	Role       string    `json:"role"`
	ExpiresAt  time.Time `json:"expires_at"`
	InviteLink string    `json:"invite_link"`
	Token      string    `json:"token"`
}

// InviteInfo is an invite as the API shows one: never its token.
type InviteInfo struct {
	ID        string       `json:"id"`
	Name      string       `json:"name" doc:"The agent's name, or the user's email."`
	Role      string       `json:"role,omitempty" enum:"owner,member,no-access" doc:"On the instance; of a user's invite."`
	Status    string       `json:"status" enum:"pending,redeemed,revoked,expired"`
	Vaults    []AgentVault `json:"vaults"`
	CreatedAt time.Time    `json:"created_at"`
	ExpiresAt time.Time    `json:"expires_at"`
}

// InviteList is the body of the lists of invites.
type InviteList struct {
	Invites []InviteInfo `json:"invites"`
}

// MemberInfo is a person's role in one vault.
type MemberInfo struct {
	Email string `json:"email"`
	Role  string `json:"role" enum:"proxy,member,admin" doc:"In the vault."`
}

// MemberList is the body of GET /v1/vaults/{name}/members.
type MemberList struct {
	Members []MemberInfo `json:"members"`
}

// MemberRequest is the body of PUT /v1/vaults/{name}/members/{email}.
type MemberRequest struct {
	Role string `json:"role" enum:"proxy,member,admin" doc:"In the vault."`
}

// LoginRequest is the body of register and login.
type LoginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// UserInfo is a person as the API shows one.
type UserInfo struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Role  string `json:"role" enum:"owner,member,no-access" doc:"On the instance."`
}

// LoginResponse is what register and login answer.
type LoginResponse struct {
	User      UserInfo  `json:"user"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}
