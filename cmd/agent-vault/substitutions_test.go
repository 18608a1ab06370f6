package main_test

import "testing"

// replacing declares, behind a service's auth, the placeholder of these tests.
func replacing(auth, in string) string {
	return auth + `, substitutions: [{placeholder: __session_of_robot__, credential: SESSION, in: [` + in + `]}, {placeholder: __nobodys_value__, credential: NOT_SET, in: [path]}]`
}

// What is replaced, through every entrance, as the upstream sees it.
func TestSubstitutionTwins(t *testing.T) {
	const open = `{type: passthrough}`
	form := []string{"Content-Type: application/x-www-form-urlencoded"}
	kindTwins(t, []kindRow{
		{"path", replacing(open, "path"), call{target: "/bot__session_of_robot__/a%2Fb?c"},
			"GET /bots3ss10n-of-a-robot/a%2Fb?c HTTP/1.1\nHost: path.test\n\n", ""},
		{"query", replacing(open, "query"), call{target: "/?a=%41&key=%5f_session_of_robot__"},
			"GET /?a=%41&key=s3ss10n-of-a-robot HTTP/1.1\nHost: query.test\n\n", ""},
		{"header", replacing(open, `"header:X-Token"`), call{target: "/", header: []string{"X-Token: Token __session_of_robot__"}},
			"GET / HTTP/1.1\nHost: header.test\nX-Token: Token s3ss10n-of-a-robot\n\n", ""},
		{"form", replacing(open, "body"), call{target: "/", method: "POST", body: "a=b&k=__session_of_robot__", header: form},
			"POST / HTTP/1.1\nHost: form.test\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 24\n\na=b&k=s3ss10n-of-a-robot", ""},
		{"form-chunked", replacing(open, "body"), call{target: "/", method: "POST", body: "k=__session_of_robot__", header: append([]string{"Transfer-Encoding: chunked"}, form...)},
			"POST / HTTP/1.1\nHost: form-chunked.test\nContent-Type: application/x-www-form-urlencoded\nTransfer-Encoding: chunked\n\n14\nk=s3ss10n-of-a-robot\n0\n\n", ""},
		{"json", replacing(open, "body"), call{target: "/", method: "POST", body: `{"k": "\u005f_session_of_robot__"}`, header: []string{"Content-Type: application/json"}},
			"POST / HTTP/1.1\nHost: json.test\nContent-Type: application/json\nContent-Length: 27\n\n{\"k\": \"s3ss10n-of-a-robot\"}", ""},
		{"signed", replacing(`{type: hmac, algorithm: sha256, key: HMAC_KEY, message: "{{ method }} {{ path_query }}\n{{ body }}", headers: {X-Sign: "{{ signature_hex }}"}}`, "body"),
			call{target: "/", method: "POST", body: "k=__session_of_robot__", header: form},
			"POST / HTTP/1.1\nHost: signed.test\nContent-Type: application/x-www-form-urlencoded\nX-Sign: eda33e05801949751700a84dddc76deb47b7793c0a3470198bdf3004081fa695\nContent-Length: 20\n\nk=s3ss10n-of-a-robot", ""},
		{"chosen", `{type: api-key, key: SESSION, header: X-Api-Key}, placeholder: __choose_this_one__`, call{target: "/?a&k=__choose_this_one__", header: []string{"X-Api-Key: __choose_this_one__"}},
			"GET /?a HTTP/1.1\nHost: chosen.test\nX-Api-Key: s3ss10n-of-a-robot\n\n", ""},
		{"chosen-not", `{type: api-key, key: SESSION, header: X-Api-Key}, placeholder: dummy`, call{target: "/", header: []string{"X-Api-Key: mine"}}, "", "forbidden"},
		{"agents-not", `{type: api-key, key: SESSION, header: X-Api-Key}, agents: [somebody]`, call{target: "/"}, "", "forbidden"},
		{"missing", replacing(open, "query"), call{target: "/__nobodys_value__"}, "", "credential_not_found"},
		{"misplaced", replacing(open, "path"), call{target: "/?__session_of_robot__"}, "", "placeholder_misplaced"},
		{"misplaced-field", replacing(open, "path"), call{target: "/", header: []string{"Cookie: a=__session_of_robot__"}}, "", "placeholder_misplaced"},
		{"misplaced-host", open, call{target: "/__session_of_robot__"}, "", "placeholder_misplaced"},
		{"multipart", replacing(open, "body"), call{target: "/", method: "POST", body: "--x--", header: []string{"Content-Type: multipart/form-data; boundary=x"}}, "", "body_unreadable"},
		{"compressed", replacing(open, "body"), call{target: "/", method: "POST", body: "k=v", header: append([]string{"Content-Encoding: gzip"}, form...)}, "", "body_unreadable"},
	})
}
