package shown_test

import (
	"fmt"

	"agentvault/api/shown"
)

func ExampleHostOf() {
	fmt.Println(shown.HostOf("github.com.evil.example"))
	fmt.Println(shown.HostOf("api.bücher.example:8443/v1/*"))
	// Output:
	// github.com.[evil.example]
	// api.[xn--bcher-kva.example]:8443/v1/* (api.bücher.example)
}
