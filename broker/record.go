package broker

import (
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the record as encoding/json spells it without escapes for
// HTML, to the byte: an exchange has two of them.
func (r *Record) AppendJSON(b []byte) (_ []byte, err error) {
	b = strconv.AppendUint(append(b, `{"seq":`...), r.Seq, 10)
	if b, err = r.Time.AppendText(append(b, `,"time":"`...)); err != nil {
		return nil, err
	}
	b = appendString(append(b, `","kind":`...), r.Kind)
	b = appendString(append(b, `,"request":`...), r.Request)
	b = appendString(append(b, `,"entrance":`...), r.Entrance)
	b = appendString(append(b, `,"session":`...), r.Session)
	b = appendString(append(b, `,"agent":`...), r.Agent)
	b = appendString(append(b, `,"agent_kind":`...), r.AgentKind)
	b = appendString(append(b, `,"vault_id":`...), r.VaultID)
	b = appendString(append(b, `,"vault":`...), r.Vault)
	b = appendString(append(b, `,"service":`...), r.Service)
	b = appendString(append(b, `,"target":`...), r.Target)
	b = appendString(append(b, `,"method":`...), r.Method)
	b = appendString(append(b, `,"path":`...), r.Path)
	if r.Upgrade != "" {
		b = appendString(append(b, `,"upgrade":`...), r.Upgrade)
	}
	b = appendStrings(append(b, `,"credentials":`...), r.Credentials)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = appendString(append(b, `,"fault":`...), r.Fault)
	b = strconv.AppendInt(append(b, `,"bytes_in":`...), r.BytesIn, 10)
	b = strconv.AppendInt(append(b, `,"bytes_out":`...), r.BytesOut, 10)
	b = strconv.AppendInt(append(b, `,"duration_micros":`...), r.Micros, 10)
	b = strconv.AppendInt(append(b, `,"scrubbed":`...), int64(r.Scrubbed), 10)
	b = strconv.AppendInt(append(b, `,"foreign":`...), int64(r.Foreign), 10)
	return append(b, '}'), nil
}

func appendStrings(b []byte, list []string) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString appends a string of JSON as encoding/json does: what is not UTF-8
// becomes U+FFFD, and line breaks of JavaScript (U+2028, U+2029) are escaped.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain(c) {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, size = utf8.DecodeRuneInString(s[i:]); r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		switch r {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default: // a control byte, or one of those above
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += size
		done = i
	}
	return append(append(b, s[done:]...), '"')
}

// plain reports whether a byte stands for itself in a string of JSON.
func plain(c byte) bool { return ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' }
