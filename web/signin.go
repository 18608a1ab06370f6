package web

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"agentvault/api"
	"agentvault/api/shown"
)

// cookie holds a person's login token. The path entrance, which shares the
// origin, takes both of its names out of what goes upstream.
const cookie = "agent_vault_login"

func (v *visit) secure() bool { return strings.HasPrefix(v.origin(v.r), "https://") }

func (v *visit) cookieName() string {
	if v.secure() {
		return "__Host-" + cookie
	}
	return cookie
}

// keep puts a login into the browser, and into this visit.
func (v *visit) keep(l api.LoginResponse) {
	v.client.Token, v.me = l.Token, &l.User
	http.SetCookie(v.w, &http.Cookie{
		Name: v.cookieName(), Value: l.Token, Path: "/", Expires: l.ExpiresAt,
		HttpOnly: true, Secure: v.secure(), SameSite: http.SameSiteStrictMode,
	})
}

// A signIn is the form by which people sign in, or give the password again.
type signIn struct {
	Action  string // where it goes
	Kept    []kept // what was typed before, which goes along
	Email   string
	Again   bool // the password only
	Problem string
}

// kept is a field that goes along.
type kept struct{ Name, Value string }

// signInForm is the form on the page at hand. A form that was refused is sent
// anew with it; else it leads back here.
func (v *visit) signInForm() signIn {
	here := local(v.r.URL.RequestURI())
	back := signIn{Action: "/sign-in", Kept: []kept{{"next", here}}, Email: v.form.Get(loginEmail)}
	if v.r.Method != http.MethodPost {
		return back
	}
	s := signIn{Action: here, Email: back.Email}
	for _, name := range slices.Sorted(maps.Keys(v.form)) {
		value := v.form.Get(name)
		switch {
		case name == loginEmail || name == loginPassword:
		case !keepable(value): // and nothing is done by half
			back.Problem = "What you typed holds characters that cannot be kept; type it anew then."
			return back
		default:
			s.Kept = append(s.Kept, kept{name, value})
		}
	}
	if v.r.URL.Path != "/sign-in" {
		s.Problem = "What you typed is kept."
	}
	return s
}

// keepable reports whether a page holds a text as it is, and not with escapes.
func keepable(text string) bool { return shown.Text(text) == text }

// signInOnTheWay signs a person in, or takes the password again, when a form
// carries it.
func (v *visit) signInOnTheWay() error {
	if !v.form.Has(loginPassword) {
		return nil
	}
	password := v.form.Get(loginPassword)
	if !v.form.Has(loginEmail) {
		_, err := v.client.Reauthenticate(v.ctx(), api.PasswordRequest{Password: password})
		return triedSignIn(err, true)
	}
	v.client.Token = ""
	l, err := v.client.Login(v.ctx(), api.LoginRequest{Email: v.form.Get(loginEmail), Password: password})
	if err == nil {
		v.keep(l)
	}
	return triedSignIn(err, false)
}

// A signInError is why a password was refused that came with a form.
type signInError struct {
	*api.ClientError
	again bool // the password only
}

func triedSignIn(err error, again bool) error {
	var refused *api.ClientError
	if errors.As(err, &refused) && refused.Status/100 == 4 {
		return &signInError{refused, again && refused.Code != api.CodeUnauthorized}
	}
	return err
}

// signInInPlace shows the form instead of what was asked for.
func (v *visit) signInInPlace(status int, again bool, problem string) {
	if v.r.Method == http.MethodGet && !again {
		if st, err := v.client.Status(v.ctx()); err == nil && st.NeedsFirstUser {
			_ = v.goTo("/sign-in") // it writes a redirect, which cannot fail
			return
		}
	}
	s := v.signInForm()
	s.Again, s.Problem = again, strings.TrimSpace(problem+" "+s.Problem)
	if status == http.StatusTooManyRequests {
		v.w.Header().Set("Retry-After", "60")
	}
	if err := v.show(status, "sign-in.html", "Sign in", s); err != nil {
		v.refuse(http.StatusInternalServerError, "The server failed on this page.")
	}
}

func signInPage(v *visit) error {
	next := local(v.r.URL.Query().Get("next"))
	if v.me != nil {
		return v.goTo(next)
	}
	status, err := v.client.Status(v.ctx())
	if err != nil {
		return err
	}
	if status.NeedsFirstUser {
		return v.show(http.StatusOK, "register.html", "Become the owner", newUser{Action: "/register"})
	}
	return v.show(http.StatusOK, "sign-in.html", "Sign in", signIn{Action: "/sign-in", Kept: []kept{{"next", next}}})
}

// signInDone goes on: who did not sign in does not get here.
func signInDone(v *visit) error { return v.goTo(v.form.Get("next")) }

func signOut(v *visit) error {
	if v.me != nil {
		if err := v.client.Logout(v.ctx()); err != nil {
			return err
		}
	}
	http.SetCookie(v.w, &http.Cookie{Name: v.cookieName(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: v.secure(), SameSite: http.SameSiteStrictMode})
	return v.goTo("/sign-in")
}

// A newUser is the form by which somebody chooses their first password.
type newUser struct {
	Action  string
	Email   string
	Invited bool // the invite says the email
	Problem string
}

func register(v *visit) error {
	l, err := v.client.Register(v.ctx(), api.LoginRequest{Email: v.form.Get("email"), Password: v.form.Get("password")})
	if err != nil {
		return v.chooseAgain(err, "register.html", "Become the owner", newUser{Action: "/register", Email: v.form.Get("email")})
	}
	v.keep(l)
	return v.goFirst()
}

// goFirst leads a new owner to the first steps in the vault that is there.
func (v *visit) goFirst() error {
	l, err := v.client.Vaults(v.ctx())
	if err != nil || len(l.Vaults) != 1 {
		return v.goTo(home) // which says what is wrong
	}
	return v.goTo(vaultPath(l.Vaults[0].Name, "start"))
}

func joinPage(v *visit) error {
	return v.show(http.StatusOK, "register.html", "Join", newUser{Action: v.r.URL.EscapedPath(), Invited: true})
}

func join(v *visit) error {
	l, err := v.client.Join(v.ctx(), api.JoinRequest{Token: v.r.PathValue("token"), Password: v.form.Get("password")})
	if err != nil {
		return v.chooseAgain(err, "register.html", "Join", newUser{Action: v.r.URL.EscapedPath(), Invited: true})
	}
	v.keep(l)
	return v.goTo(home)
}

// chooseAgain shows the form anew when what was typed does not do.
func (v *visit) chooseAgain(err error, page, title string, f newUser) error {
	var refused *api.ClientError
	if !errors.As(err, &refused) || refused.Status/100 == 5 {
		return err
	}
	f.Problem = sentence(refused.Message)
	return v.show(refused.Status, page, title, f)
}
