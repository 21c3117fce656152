package cmd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// odd answers what the shop has beside its orders: everything that HTTP can be
// besides a request and its answer in JSON. It is false for the rest.
func (s *shop) odd(w http.ResponseWriter, r *http.Request) bool {
	path, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/odd/"), "/")
	if !strings.HasPrefix(r.URL.Path, "/odd/") {
		return false
	}
	switch path {
	case "echo": // the address as it arrived
		fmt.Fprintf(w, "got %s by %s\n", r.RequestURI, r.Proto)
	case "links": // in a header, in JSON, in HTML
		self := "https://" + r.Host
		if r.TLS == nil {
			self = "http://" + r.Host
		}
		w.Header().Set("Link", "<"+self+"/odd/echo/header>; rel=\"next\"")
		switch {
		case r.Method == http.MethodPost:
			data, err := io.ReadAll(r.Body)
			if err != nil || !strings.Contains(string(data), self+"/odd/echo/back") {
				http.Error(w, "that is no address of ours: "+string(data), http.StatusBadRequest)
				return true
			}
			fmt.Fprintln(w, "posted")
		case rest == "html":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<a href=%q>more</a>\n", self+"/odd/echo/html")
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "{\"next\":%q}\n", self+"/odd/echo/json")
		}
	case "untyped":
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>who knows</html>") // a client that is gone needs nothing
	default:
		http.Error(w, "there is no "+path+" "+rest, http.StatusNotFound)
	}
	return true
}

// startPlain serves the shop without TLS, on a port of its own.
func (s *shop) startPlain() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.plain = &http.Server{Handler: s.server.Config.Handler, Protocols: protocols}
	s.plainURL = "http://" + l.Addr().String()
	go func() { _ = s.plain.Serve(l) }() // ends with Close
	return nil
}
