package gallery_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// The credentials that rows name. The first is spelled the same in most
// encodings and fits into a field name; the others have what each encoding
// changes.
const (
	apiKey    = "sk-live-3f9a77c1e2d4b6a8Zq"      // {{injected}} on most hosts
	richKey   = `rich/K3y+"<odd>&'=\%~{2}?#Aa9`   // {{injected}} on rich.test
	otherKey  = "ot-live-77aa01bc93de45f6Xw"      // of other.test: the neighbour
	storedKey = `st0r3d/only+"<here>&'=\%~[7]Bb1` // {{stored}}: of no service at all
	tokenKey  = "stored-token-5d1f8b7a9c3e2Yk"    // {{stored-token}}: likewise, fits into a field name
	username  = "robot-account-4417"
	password  = "p4ss:w0rd/with+odd=bytes"
)

// plantedCredentials returns 64 credentials by key: those that rows name, and
// others of lengths from 8 to 4096 bytes in many alphabets. They are the same
// on every run, so that a failure can be had again.
func plantedCredentials() map[string]string {
	planted := map[string]string{
		"API_KEY": apiKey, "RICH_KEY": richKey, "OTHER_KEY": otherKey, "STORED_KEY": storedKey, "TOKEN_KEY": tokenKey,
		"USERNAME": username, "PASSWORD": password,
	}
	const (
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		digits  = "0123456789"
	)
	alphabets := []string{
		letters + digits,
		letters + digits + "-_",
		letters + digits + "+/=",
		letters + digits + `"\/<>&'`,     // JSON and HTML
		letters + digits + "%+;:?#@ =&",  // URLs
		letters + digits + "äéßñøçλжя",   // two bytes each
		letters + digits + "漢字かなカナ한글",    // three
		letters + digits + "🙂🔑🦊🚀",        // four
		"0123456789abcdef",               // long enough not to be met by chance
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ2345", // likewise
		letters + digits + "!$()*,.[]^`{|}~",
	}
	lengths := []int{8, 9, 10, 11, 12, 13, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 63, 64, 65, 100, 128, 255, 256, 512, 1000, 2048, 4096}
	random := rand.New(rand.NewPCG(4, 64))
	for n := 0; len(planted) < 64; n++ {
		alphabet, length := []rune(alphabets[n%len(alphabets)]), lengths[n%len(lengths)]
		if n >= len(lengths) {
			length = min(length, 128) // one of each of the long ones is enough
		}
		if len(alphabet) < 62 {
			length = max(length, 20)
		}
		var b strings.Builder
		for b.Len() < length {
			r := alphabet[random.IntN(len(alphabet))]
			if r == ' ' && (b.Len() == 0 || b.Len() == length-1) || b.Len()+utf8.RuneLen(r) > length && length-b.Len() > 0 {
				r = 'x' // no blank at an end, and the length exact
			}
			b.WriteRune(r)
		}
		planted[fmt.Sprintf("PLANTED_%02d", n)] = b.String()
	}
	return planted
}
