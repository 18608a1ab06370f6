package api

import (
	"context"
)

// Join makes a user of an invite, and signs in.
func (c *Client) Join(ctx context.Context, r JoinRequest) (LoginResponse, error) {
	return send[LoginResponse](ctx, c, "POST", "/v1/auth/join", r)
}

// Reauthenticate makes the client's login fresh.
func (c *Client) Reauthenticate(ctx context.Context, r PasswordRequest) (LoginInfo, error) {
	return send[LoginInfo](ctx, c, "POST", "/v1/auth/reauthenticate", r)
}

// ChangePassword changes one's password. One's other logins end.
func (c *Client) ChangePassword(ctx context.Context, r ChangePasswordRequest) error {
	_, err := c.do(ctx, "PUT", "/v1/auth/password", r)
	return err
}

// Logins lists one's sign-ins.
func (c *Client) Logins(ctx context.Context) (LoginList, error) {
	return send[LoginList](ctx, c, "GET", "/v1/auth/logins", nil)
}

// RevokeLogin ends one of one's sign-ins.
func (c *Client) RevokeLogin(ctx context.Context, id string) error {
	_, err := c.do(ctx, "DELETE", at("auth", "logins", id), nil)
	return err
}

// Users lists the users.
func (c *Client) Users(ctx context.Context) (UserList, error) {
	return send[UserList](ctx, c, "GET", "/v1/users", nil)
}

// SetUserRole changes a user's role on the instance.
func (c *Client) SetUserRole(ctx context.Context, email, role string) (UserInfo, error) {
	return send[UserInfo](ctx, c, "PATCH", at("users", email), RoleRequest{role})
}

// RemoveUser removes a user.
func (c *Client) RemoveUser(ctx context.Context, email string) error {
	_, err := c.do(ctx, "DELETE", at("users", email), nil)
	return err
}

// InviteUser makes a link that makes one user.
func (c *Client) InviteUser(ctx context.Context, r UserInviteRequest) (UserInviteResponse, error) {
	return send[UserInviteResponse](ctx, c, "POST", "/v1/users/invites", r)
}

// UserInvites lists the invites of users.
func (c *Client) UserInvites(ctx context.Context) (InviteList, error) {
	return send[InviteList](ctx, c, "GET", "/v1/users/invites", nil)
}

// RevokeUserInvite revokes a user's invite.
func (c *Client) RevokeUserInvite(ctx context.Context, id string) error {
	_, err := c.do(ctx, "DELETE", at("users", "invites", id), nil)
	return err
}

// Members lists who has a role in a vault.
func (c *Client) Members(ctx context.Context, vaultName string) (MemberList, error) {
	return send[MemberList](ctx, c, "GET", at("vaults", vaultName, "members"), nil)
}

// SetMember gives a user a role in a vault.
func (c *Client) SetMember(ctx context.Context, vaultName, email, role string) (MemberInfo, error) {
	return send[MemberInfo](ctx, c, "PUT", at("vaults", vaultName, "members", email), MemberRequest{role})
}

// RemoveMember takes a user's role in a vault away.
func (c *Client) RemoveMember(ctx context.Context, vaultName, email string) error {
	_, err := c.do(ctx, "DELETE", at("vaults", vaultName, "members", email), nil)
	return err
}

// Register makes the first user.
func (c *Client) Register(ctx context.Context, r LoginRequest) (LoginResponse, error) {
	return send[LoginResponse](ctx, c, "POST", "/v1/auth/register", r)
}

// Login signs a person in.
func (c *Client) Login(ctx context.Context, r LoginRequest) (LoginResponse, error) {
	return send[LoginResponse](ctx, c, "POST", "/v1/auth/login", r)
}

// Logout ends the client's login.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, "POST", "/v1/auth/logout", nil)
	return err
}

// Me returns who the client's token is.
func (c *Client) Me(ctx context.Context) (UserInfo, error) {
	return send[UserInfo](ctx, c, "GET", "/v1/auth/me", nil)
}
