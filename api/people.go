package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"agentvault/vault"
)

type (
	roleIn struct {
		byEmail
		Body RoleRequest
	}
	memberIn struct {
		byName
		byEmail
		Body MemberRequest
	}
	memberPath struct {
		byName
		byEmail
	}
)

func userInfo(u vault.User) UserInfo { return UserInfo{ID: u.ID, Email: u.Email, Role: u.Role} }

func (s *server) register(ctx context.Context, c call[LoginRequest]) (LoginResponse, error) {
	in, err := s.Registry.Register(ctx, c.in.Email, []byte(c.in.Password), c.client)
	return loginResponse(in), err
}

func (s *server) login(ctx context.Context, c call[LoginRequest]) (LoginResponse, error) {
	in, err := s.Registry.Login(ctx, c.in.Email, []byte(c.in.Password), c.client)
	return loginResponse(in), err
}

func (s *server) logout(ctx context.Context, c call[none]) (Done, error) {
	return Done{true}, s.Registry.Logout(ctx, c.caller)
}

func (s *server) me(_ context.Context, c call[none]) (UserInfo, error) {
	if u := c.caller.User(); u != nil {
		return userInfo(*u), nil
	}
	return UserInfo{}, &vault.Error{Code: vault.CodeForbidden, Message: "an agent's token is not a person's"}
}

func loginResponse(s vault.SignIn) LoginResponse {
	return LoginResponse{userInfo(s.User), s.Token, s.Login.ExpiresAt}
}

func loginInfo(l vault.Login, current bool) LoginInfo {
	return LoginInfo{l.ID, l.Client, l.CreatedAt, l.AuthenticatedAt, l.SeenAt, l.EndsAt(), current}
}

func (s *server) join(ctx context.Context, c call[JoinRequest]) (LoginResponse, error) {
	in, err := s.Registry.Join(ctx, c.in.Token, []byte(c.in.Password), c.client)
	if err != nil {
		return LoginResponse{}, err
	}
	return loginResponse(in), nil
}

func (s *server) reauthenticate(ctx context.Context, c call[PasswordRequest]) (LoginInfo, error) {
	l, err := s.Registry.Reauthenticate(ctx, c.caller, []byte(c.in.Password))
	return loginInfo(l, true), err
}

func (s *server) changePassword(ctx context.Context, c call[ChangePasswordRequest]) (Done, error) {
	return Done{true}, s.Registry.ChangePassword(ctx, c.caller, []byte(c.in.OldPassword), []byte(c.in.NewPassword))
}

func (s *server) listLogins(ctx context.Context, c call[none]) (LoginList, error) {
	logins, err := s.Registry.Logins(ctx, c.caller)
	out := LoginList{Logins: []LoginInfo{}}
	for _, l := range logins {
		out.Logins = append(out.Logins, loginInfo(l, l.ID == c.caller.Login().ID))
	}
	return out, err
}

func (s *server) revokeLogin(ctx context.Context, c call[byID]) (Done, error) {
	return Done{true}, s.Registry.RevokeLogin(ctx, c.caller, c.in.ID)
}

func (s *server) listUsers(ctx context.Context, c call[none]) (UserList, error) {
	users, err := s.Registry.Users(ctx, c.caller)
	if err != nil {
		return UserList{}, err
	}
	names, err := s.vaultNames(ctx, c.caller)
	out := UserList{Users: []UserDetail{}}
	for _, u := range users {
		d := UserDetail{UserInfo: userInfo(u), Vaults: []VaultRole{}, CreatedAt: u.CreatedAt}
		for id, role := range u.Vaults {
			d.Vaults = append(d.Vaults, VaultRole{names[id], role})
		}
		slices.SortFunc(d.Vaults, func(a, b VaultRole) int { return cmp.Compare(a.VaultName, b.VaultName) })
		out.Users = append(out.Users, d)
	}
	return out, err
}

// vaultNames are the names of the vaults that the caller may see, by ID.
func (s *server) vaultNames(ctx context.Context, c vault.Caller) (map[string]string, error) {
	vaults, err := s.Registry.Vaults(ctx, c)
	names := make(map[string]string, len(vaults))
	for _, v := range vaults {
		names[v.ID] = v.Name
	}
	return names, err
}

func (s *server) setUserRole(ctx context.Context, c call[roleIn]) (UserInfo, error) {
	u, err := s.Registry.SetUserRole(ctx, c.caller, c.in.Email, c.in.Body.Role)
	return userInfo(u), err
}

func (s *server) removeUser(ctx context.Context, c call[byEmail]) (Done, error) {
	return Done{true}, s.Registry.RemoveUser(ctx, c.caller, c.in.Email)
}

// life turns a count of seconds into a duration. What no life is that long
// for must not overflow into one that is.
func life(seconds *int64) time.Duration {
	switch {
	case seconds == nil:
		return 0
	case *seconds < 1 || *seconds > int64(10*365*24*time.Hour/time.Second):
		return -1
	}
	return time.Duration(*seconds) * time.Second
}

// lasting is life of something that may be for good, which 0 is, or stay as it
// is.
func lasting(seconds *int64) *time.Duration {
	if seconds == nil || *seconds == 0 {
		return (*time.Duration)(seconds)
	}
	d := life(seconds)
	return &d
}

// link is where this server is found, and a path there.
func (s *server) link(path string) string { return s.BaseURL() + path }

// writeText answers people's browsers.
func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // a client that went away is no concern of ours
}

func (s *server) listMembers(ctx context.Context, c call[byName]) (MemberList, error) {
	members, err := s.Registry.Members(ctx, c.caller, c.in.Name)
	out := MemberList{Members: []MemberInfo{}}
	for _, m := range members {
		out.Members = append(out.Members, MemberInfo(m))
	}
	return out, err
}

func (s *server) setMember(ctx context.Context, c call[memberIn]) (MemberInfo, error) {
	return MemberInfo{strings.ToLower(c.in.Email), c.in.Body.Role}, s.Registry.SetMember(ctx, c.caller, c.in.Name, c.in.Email, c.in.Body.Role)
}

func (s *server) removeMember(ctx context.Context, c call[memberPath]) (Done, error) {
	return Done{true}, s.Registry.RemoveMember(ctx, c.caller, c.in.Name, c.in.Email)
}
