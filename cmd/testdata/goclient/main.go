// Goclient is a program that talks to the shop of the scripts: what record and
// replay are for.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	base := os.Getenv("SHOP_BASE_URL")
	for n := range 2 {
		req, err := http.NewRequest("POST", base+"/v1/orders",
			strings.NewReader(fmt.Sprintf(`{"item":%d,"messageId":"go-%d"}`, n, os.Getpid())))
		if err != nil {
			fail(err)
		}
		req.Header.Set("Authorization", "Bearer "+os.Getenv("SHOP_API_KEY"))
		req.Header.Set("Content-Type", "application/json")
		show(http.DefaultClient.Do(req))
	}
	show(http.Get(base + "/v1/old"))
}

func show(resp *http.Response, err error) {
	if err != nil {
		fail(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		fail(err)
	}
	fmt.Printf("%d %s\n", resp.StatusCode, body)
	if resp.StatusCode >= 400 {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
