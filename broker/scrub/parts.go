package scrub

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"strings"
)

// withParts are the values and what else gives one of them away. Whoever prints a
// private key in PEM breaks it into lines of its own (other line breaks, other
// lengths, none), or prints some of the lines: so what they spell is looked for, in
// base64 however it is broken, and each line by itself.
func withParts(values [][]byte) [][]byte {
	all := values
	for _, v := range values {
		for _, text := range documents(v) {
			all = append(all[:len(all):len(all)], keyParts(text)...)
		}
	}
	return all
}

// documents are the texts in a value that may hold PEM: itself, or the strings of an
// object of JSON, as in the key file of a service account.
func documents(value []byte) [][]byte {
	switch {
	case bytes.HasPrefix(value, []byte("-----BEGIN ")):
		return [][]byte{value}
	case bytes.HasPrefix(value, []byte("{")):
		var object any
		if json.Unmarshal(value, &object) == nil {
			return texts(object)
		}
	}
	return nil
}

func texts(x any) (out [][]byte) {
	switch x := x.(type) {
	case string:
		if strings.Contains(x, "PRIVATE KEY") {
			out = append(out, []byte(x))
		}
	case []any:
		for _, y := range x {
			out = append(out, texts(y)...)
		}
	case map[string]any:
		for _, y := range x {
			out = append(out, texts(y)...)
		}
	}
	return out
}

// keyParts are the content of every private key in PEM, and the lines that spell it.
// Certificates are public.
func keyParts(text []byte) (parts [][]byte) {
	if !bytes.Contains(text, []byte("PRIVATE KEY")) {
		return nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(text) {
		if strings.Contains(block.Type, "PRIVATE KEY") {
			parts = append(parts, block.Bytes)
			for line := range bytes.Lines(text[:len(text)-len(rest)]) {
				if line = bytes.TrimSpace(line); !bytes.ContainsAny(line, "- :") { // nor what stands around it, or in its header
					parts = append(parts, line)
				}
			}
		}
		text = rest
	}
	return parts
}
