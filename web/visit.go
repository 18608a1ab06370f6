package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"agentvault/api"
	"agentvault/api/shown"
)

// inside is what calls of the API name as the server. They do not leave it.
const inside = "http://127.0.0.1"

const (
	formType = "application/x-www-form-urlencoded"
	maxForm  = 256 << 10 // bytes
	formTime = 30 * time.Second
)

// Fields of a form by which a person signs in, or gives the password again, on
// the way: every form may carry them.
const (
	loginEmail    = "login.email"
	loginPassword = "login.password"
)

// A visit is one request for a page. Handlers read it, call the API with its
// client, and end with show, goTo or an error.
type visit struct {
	*Pages
	w      http.ResponseWriter
	r      *http.Request
	client *api.Client   // the API, as the person who asks
	me     *api.UserInfo // who that is; nil: nobody who is signed in
	form   url.Values    // what was typed; each field stands there once
}

// A refusal is an error of the pages' own.
type refusal struct {
	status  int
	message string // a sentence for the person
}

func (r refusal) Error() string { return r.message }

// errFromElsewhere says that a link on another site led here, with which
// browsers send no SameSite=Strict cookie. Loading the page once more sends it.
var errFromElsewhere = errors.New("it may be signed in")

// fromElsewhere reports whether that may be so, and was not tried already: the
// cookie that says so goes along from anywhere, to this page alone.
func (v *visit) fromElsewhere() bool {
	_, err := v.r.Cookie(cookie + "_tried")
	return err != nil && v.client.Token == "" && v.r.Method == http.MethodGet && v.r.Header.Get("Sec-Fetch-Site") == "cross-site"
}

// loadAgain has the browser load the page once more, from here.
func (v *visit) loadAgain() {
	http.SetCookie(v.w, &http.Cookie{
		Name: cookie + "_tried", Value: "yes", Path: v.r.URL.EscapedPath(), MaxAge: 10,
		HttpOnly: true, Secure: v.secure(), SameSite: http.SameSiteLaxMode,
	})
	v.w.Header().Set("Refresh", "0")
	v.explain(http.StatusOK, "One moment", "This page is loaded once more, from here.")
}

// begin reads the form and finds out who asks.
func (v *visit) begin(rt route) error {
	v.client = &api.Client{Address: inside, Name: cmp.Or(v.r.UserAgent(), "browser"), Transport: v.API(v.r.RemoteAddr)}
	if rt.access == anyone {
		return nil
	}
	if c, err := v.r.Cookie(v.cookieName()); err == nil {
		v.client.Token = c.Value
	}
	if v.fromElsewhere() {
		return errFromElsewhere
	}
	if v.r.Method == http.MethodPost {
		if err := v.readForm(rt.fields); err != nil {
			return err
		}
		if err := v.signInOnTheWay(); err != nil {
			return err
		}
	}
	if v.client.Token != "" {
		me, err := v.client.Me(v.ctx())
		switch {
		case err == nil:
			v.me = &me
		case !isCode(err, api.CodeUnauthorized, api.CodeForbidden): // forbidden: an agent's token
			return err
		}
	}
	if v.me == nil && rt.access == signedIn {
		return &api.ClientError{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized}
	}
	return nil
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// readForm reads a form whose fields are known, and stand there once.
func (v *visit) readForm(fields []string) error {
	kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if err != nil || kind != formType {
		return refusal{http.StatusUnsupportedMediaType, "This is not a form of these pages."}
	}
	// The deadline ends with the form: net/http goes on reading behind it to
	// notice a browser that goes away. Writers without deadlines are tests'.
	conn := http.NewResponseController(v.w)
	_ = conn.SetReadDeadline(time.Now().Add(formTime)) // one that has gone ends the read
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxForm))
	_ = conn.SetReadDeadline(time.Time{}) // likewise
	if err != nil {
		return refusal{http.StatusRequestEntityTooLarge, "The form is too long, or ended early."}
	}
	if v.form, err = url.ParseQuery(string(body)); err != nil {
		return refusal{http.StatusBadRequest, "The form is malformed."}
	}
	for name, values := range v.form {
		known := slices.ContainsFunc(append([]string{loginEmail, loginPassword}, fields...), func(f string) bool {
			begin, open := strings.CutSuffix(f, "*")
			return name == f || open && strings.HasPrefix(name, begin)
		})
		if !known || len(values) != 1 || !utf8.ValidString(values[0]) {
			return refusal{http.StatusBadRequest, "The form is not one of these pages."}
		}
		v.form.Set(name, strings.ReplaceAll(values[0], "\r\n", "\n")) // HTML §4.10.21.4 makes CRLF of line feeds
	}
	return nil
}

// show writes a page: a template with what it shows. Whatever could deceive who
// reads it is shown as escapes, wherever on the page it stands.
func (v *visit) show(status int, name, title string, data any) error {
	var b bytes.Buffer
	err := v.templates[name].ExecuteTemplate(&b, "layout.html", view{Title: title, Me: v.me, Path: v.r.URL.Path, Data: data})
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = io.WriteString(v.w, shown.Text(b.String())) // a client that went away is no concern of ours
	return nil
}

// A view is what the layout is filled with; a page's template has it too.
type view struct {
	Title string
	Me    *api.UserInfo
	Path  string
	Data  any
}

// goTo sends the browser to a page of this server.
func (v *visit) goTo(path string) error {
	http.Redirect(v.w, v.r, local(path), http.StatusSeeOther)
	return nil
}

// local is a path of this server, or home for everything else: what browsers
// take for the name of another server is not one.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsFunc(next, func(r rune) bool { return r == '\\' || shown.Deceptive(r) }) {
		return home
	}
	return next
}

// fail is the one place that turns an error into a page. Who is not signed in,
// or signed in too long ago, gives the password there and goes on.
func (v *visit) fail(err error) {
	if v.ctx().Err() != nil {
		return // nobody is there to read
	}
	var own refusal
	var tried *signInError
	var refused *api.ClientError
	switch {
	case errors.Is(err, errFromElsewhere):
		v.loadAgain()
	case errors.As(err, &own):
		v.refuse(own.status, own.message)
	case errors.As(err, &tried):
		v.signInInPlace(tried.Status, tried.again, sentence(tried.Message))
	case isCode(err, api.CodeUnauthorized):
		problem := ""
		if v.r.Method == http.MethodPost && v.r.URL.Path != "/sign-in" {
			problem = "Your sign-in has ended."
		}
		v.signInInPlace(http.StatusUnauthorized, false, problem)
	case isCode(err, api.CodeLoginTooOld):
		v.signInInPlace(http.StatusForbidden, true, "For this, give your password again.")
	case errors.As(err, &refused):
		v.refuse(refused.Status, sentence(refused.Message))
	default:
		v.Log.Warn("page failed", "route", v.r.Pattern, "err", err)
		v.refuse(http.StatusInternalServerError, "The server failed on this page. Its log says why.")
	}
}

// refuse shows an error and nothing else.
func (v *visit) refuse(status int, message string) {
	v.explain(status, http.StatusText(status), message)
}

// explain shows a sentence and nothing else.
func (v *visit) explain(status int, title, message string) {
	if err := v.show(status, "error.html", title, message); err != nil {
		http.Error(v.w, message, status)
	}
}

// sentence makes one of an error's message.
func sentence(message string) string {
	if message == "" {
		return ""
	}
	return strings.ToUpper(message[:1]) + strings.TrimSuffix(message[1:], ".") + "."
}

// isCode reports whether an error is the API's of one of these codes.
func isCode(err error, codes ...string) bool {
	var e *api.ClientError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}
