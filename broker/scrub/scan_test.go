package scrub_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"agentvault/broker/scrub"
)

// What stands before a value may begin an escape that seems to end in it: the
// value begins there all the same.
func TestFoundBehindHalfAnEscape(t *testing.T) {
	for _, value := range []string{"ab+/cdefgh", "4a/b3cdefghij", "na/r<bcdefgh", "u004/1&bcdef", "x41<bcdefgh", "amp;&xyz12", "#65;<xyz12", "aé/bcdefgh"} {
		set := scrub.Compile([][]byte{[]byte(value)})
		for _, before := range []string{"%", "%4", `\`, `\\`, `\u`, `\u00`, `\x`, `\x4`, "&", "&#", "&#x", "&a"} {
			for at := range value {
				c := value[at]
				for _, escape := range []string{fmt.Sprintf("%%%02X", c), fmt.Sprintf(`\u%04x`, c), fmt.Sprintf(`\x%02x`, c), `\` + string(c), fmt.Sprintf("&#%d;", c)} {
					if c >= 0x80 && escape[0] != '%' || escape[0] == '\\' && len(escape) == 2 && strings.IndexByte(`/<&;#+`, c) < 0 {
						continue // stands for something else
					}
					text := before + value[:at] + escape + value[at+1:]
					got, err := io.ReadAll(set.Reader(strings.NewReader(text + "|")))
					if want := strings.Repeat("*", len(text)-len(before)) + "|"; err != nil || string(got[len(before):]) != want {
						t.Errorf("%q behind %q: got %q, %v", text[len(before):], before, got, err)
					}
				}
			}
		}
	}
}
