package mitm

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"agentvault/broker"
)

// SOCKS5 (RFC 1928) with user name and password (RFC 1929). The handshake is
// four messages of at most 513 bytes, each of which says how long it is; we read
// them to the last byte and no further, because what follows is the tunnel's.
const (
	socksVersion    = 5
	socks4Version   = 4
	passwordVersion = 1

	methodNone     = 0x00
	methodPassword = 0x02
	methodRefused  = 0xff

	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4

	replyOpen        = 0
	replyFailure     = 1
	replyNotAllowed  = 2
	replyNetwork     = 3
	replyHost        = 4
	replyRefused     = 5
	replyCommand     = 7
	replyAddressKind = 8

	statusWelcome = 0
	statusUnknown = 1
)

// methodSession is an authentication method of our own, of those that RFC 1928
// §3 leaves to private use; [Bind] is its client. Like user name and password, but it is the whole
// connection's: behind it the client begins anew, in HTTP or SOCKS, and all that
// it asks for is that session's. Whether the session may is said to each
// request, in the client's own protocol, so the status is always success.
const methodSession = 0x80

// errRefused ends a connection that has been told why.
var errRefused = errors.New("mitm: SOCKS client refused")

// A socksRequest is what a SOCKS client asked for.
type socksRequest struct {
	identity broker.Identity
	target   broker.Target
	fault    *broker.Fault // why it is refused already
	reply    byte          // with what, if not with the fault's own
}

// negotiate speaks SOCKS until there is a request, or until the connection has
// been bound to a session and begins anew.
func (c *portConn) negotiate() error {
	h := handshake{in: &c.Conn, out: &c.Conn, bound: c.bound, known: func(id broker.Identity) *broker.Fault {
		return c.proxy.broker.Known(id, c.RemoteAddr().String())
	}}
	err := h.run()
	if h.fault != nil {
		c.proxy.broker.CountFault(broker.MITM, h.fault)
	}
	c.bound, c.request = h.bound, h.request
	return err
}

// Bind is the client's side of a session's own connection: behind it whatever is
// asked for on the connection, in HTTP or SOCKS, is that session's. The vault is
// the one that an agent's own token is for. Deadlines are the caller's.
func Bind(rw io.ReadWriter, token, vault string) error {
	if len(token) > 255 || len(vault) > 255 {
		return errors.New("mitm: a token or vault name that is too long")
	}
	b := append([]byte{socksVersion, 1, methodSession, passwordVersion, byte(len(token))}, token...)
	b = append(append(b, byte(len(vault))), vault...)
	if _, err := rw.Write(b); err != nil {
		return err
	}
	var got [4]byte
	if _, err := io.ReadFull(rw, got[:]); err != nil {
		return err
	}
	if got != [4]byte{socksVersion, methodSession, passwordVersion, statusWelcome} {
		return errors.New("mitm: the other side is not a proxy entrance of this version")
	}
	return nil
}

// A handshake reads one client's messages to the last byte and no further.
type handshake struct {
	in    io.Reader
	out   io.Writer
	known func(broker.Identity) *broker.Fault // asked about whoever presents a password
	bound *broker.Identity                    // whose the connection is, also as an outcome; nil: nobody's

	request *socksRequest // nil if it was bound just now, or failed
	fault   *broker.Fault // why it failed, if that is to be counted
}

func (h *handshake) run() error {
	version, err := readByte(h.in)
	if err != nil {
		return err
	}
	if version != socksVersion {
		h.fault = badRequest("SOCKS4 is not served: it knows no passwords")
		_, _ = h.out.Write([]byte{0, 0x5b, 0, 0, 0, 0, 0, 0}) // "rejected or failed"; the connection ends either way
		return errRefused
	}
	offered, err := readCounted(h.in)
	if err != nil {
		return err
	}
	method := chooseMethod(offered, h.bound != nil)
	if _, err := h.out.Write([]byte{socksVersion, method}); err != nil {
		return err
	}
	var id broker.Identity
	switch method {
	case methodRefused:
		h.fault = broker.NewFault(broker.CodeUnauthorized)
		return errRefused
	case methodPassword, methodSession:
		if id, err = h.authenticate(method); err != nil {
			return err
		}
	}
	if method == methodSession {
		h.bound = &id
		return nil
	}
	if h.bound != nil {
		id = *h.bound
	}
	request := &socksRequest{identity: id}
	if err := request.read(h.in); err != nil {
		return err
	}
	h.request = request
	return nil
}

// authenticate reads who presents itself, and refuses whom the vault does not
// know where it matters.
func (h *handshake) authenticate(method byte) (broker.Identity, error) {
	id, err := readPassword(h.in)
	if err != nil {
		return id, err
	}
	if method == methodPassword && h.bound == nil {
		h.fault = h.known(id)
	}
	if h.fault != nil {
		_, _ = h.out.Write([]byte{passwordVersion, statusUnknown}) // the connection ends either way
		return id, errRefused
	}
	_, err = h.out.Write([]byte{passwordVersion, statusWelcome})
	return id, err
}

// chooseMethod picks one that the client offers. On a bound connection nobody
// need present anything, and what is presented counts for nothing.
func chooseMethod(offered []byte, bound bool) byte {
	preferred := []byte{methodSession, methodPassword}
	if bound {
		preferred = []byte{methodNone, methodPassword}
	}
	for _, m := range preferred {
		if slices.Contains(offered, m) {
			return m
		}
	}
	return methodRefused
}

// readPassword reads RFC 1929's message: the token as user name, and as password
// the vault that an agent's own token means.
func readPassword(r io.Reader) (broker.Identity, error) {
	version, err := readByte(r)
	if err != nil {
		return broker.Identity{}, err
	}
	if version != passwordVersion {
		return broker.Identity{}, errRefused
	}
	token, err := readCounted(r)
	if err != nil {
		return broker.Identity{}, err
	}
	vault, err := readCounted(r)
	if err != nil {
		return broker.Identity{}, err
	}
	if len(token) == 0 {
		return broker.Unreadable(), nil
	}
	return broker.Identify(string(token), string(vault)), nil
}

// read reads the request itself. It fails only where there is none: what cannot
// be done is answered by the handler.
func (s *socksRequest) read(r io.Reader) error {
	var head [4]byte // version, command, reserved, kind of address
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	var host []byte
	var err error
	switch head[3] {
	case addressIPv4:
		host = make([]byte, 4)
		_, err = io.ReadFull(r, host)
	case addressIPv6:
		host = make([]byte, 16)
		_, err = io.ReadFull(r, host)
	case addressName:
		host, err = readCounted(r)
	default: // how long it is nobody knows
		s.fault, s.reply = badRequest("this kind of SOCKS address is not known"), replyAddressKind
		return nil
	}
	var port [2]byte
	if err == nil {
		_, err = io.ReadFull(r, port[:])
	}
	switch {
	case err != nil:
		return err
	case head[0] != socksVersion || head[2] != 0:
		s.fault = badRequest("the SOCKS request cannot be understood")
	case head[1] != commandConnect:
		s.fault, s.reply = badRequest("of SOCKS only the command CONNECT is served"), replyCommand
	default:
		s.target, s.fault = pinSOCKS(head[3], host, binary.BigEndian.Uint16(port[:]))
	}
	return nil
}

// pinSOCKS pins what a request names. A name must not bring brackets or a port
// of its own along: they would make an authority of another meaning.
func pinSOCKS(kind byte, host []byte, port uint16) (broker.Target, *broker.Fault) {
	name := string(host)
	if kind == addressName {
		if strings.ContainsAny(name, ":[]") {
			return broker.Target{}, badRequest("the name in a SOCKS request is a host name alone")
		}
	} else {
		addr, _ := netip.AddrFromSlice(host) // 4 or 16 bytes
		name = addr.String()
	}
	return broker.Pin("https", net.JoinHostPort(name, strconv.Itoa(int(port))))
}

// readCounted reads as many bytes as the first one says.
func readCounted(r io.Reader) ([]byte, error) {
	n, err := readByte(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}

func readByte(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// serveSOCKS opens the tunnel that a SOCKS client asked for.
func (p *Proxy) serveSOCKS(w http.ResponseWriter, r *http.Request, s *socksRequest) {
	t, f := p.openSOCKS(r, s)
	c, _, err := (&hijacker{ResponseWriter: w}).Hijack()
	if err != nil {
		if t != nil {
			t.Close()
		}
		panic(http.ErrAbortHandler) // what follows is not HTTP
	}
	if f != nil {
		p.broker.CountFault(broker.MITM, f)
		reply := answerSOCKS(f)
		if s.reply != 0 {
			reply[1] = s.reply
		}
		_, _ = c.Write(reply) // the connection ends either way
		_ = c.Close()         // likewise
		return
	}
	p.carry(t, c)
}

// openSOCKS admits a request. One for an address that no service names is
// refused right here: most likely the client has resolved the name by itself,
// and what it would say inside cannot agree with an address.
func (p *Proxy) openSOCKS(r *http.Request, s *socksRequest) (*tunnel, *broker.Fault) {
	if s.fault != nil {
		return nil, s.fault
	}
	t, f := p.admit(r, s.identity, s.target)
	if f != nil {
		return nil, f
	}
	if s.target.IsIP() && !t.Named() {
		t.Close()
		return nil, broker.NewFault(broker.CodeForbidden)
	}
	t.Answer = answerSOCKS
	return t, nil
}

// answerSOCKS spells a reply. The address in it is of no use to anybody, as the
// vault's own is not told.
func answerSOCKS(f *broker.Fault) []byte {
	return []byte{socksVersion, replyOf(f), 0, addressIPv4, 0, 0, 0, 0, 0, 0}
}

// replyOf is the table in docs/requests.md.
func replyOf(f *broker.Fault) byte {
	switch {
	case f == nil:
		return replyOpen
	case f.Status == http.StatusUnauthorized, f.Status == http.StatusForbidden,
		f.Code == broker.CodeVaultRequired, f.Code == broker.CodeVaultNotFound:
		return replyNotAllowed
	case errors.Is(f.Err, syscall.ECONNREFUSED):
		return replyRefused
	case errors.Is(f.Err, syscall.ENETUNREACH):
		return replyNetwork
	case f.Status == http.StatusBadGateway:
		return replyHost
	}
	return replyFailure
}
