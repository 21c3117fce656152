package cmd

import (
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// odd answers what the shop has beside its orders: everything that HTTP can be
// besides a request and its answer in JSON. It is false for the rest.
func (s *shop) odd(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodOptions && r.RequestURI == "*" {
		w.Header().Set("X-Asked", r.RequestURI)
		return true
	}
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
	case "sse", "lines": // five pieces; the next comes when the last has left
		stream(w, path)
	case "trailers":
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintln(w, "a body")
		w.Header().Set("X-Sum", "42")
	case "deflate": // without zlib's frame, as some servers send it
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "deflate")
		z, err := flate.NewWriter(w, flate.BestSpeed)
		if err == nil {
			fmt.Fprintln(z, `{"was":"deflated"}`)
			_ = z.Close() // a client that is gone needs nothing
		}
	case "reset", "cutoff", "hang":
		breakOff(w, r, path)
	case "socket":
		switchProtocols(w)
	case "untyped":
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>who knows</html>") // a client that is gone needs nothing
	default:
		http.Error(w, "there is no "+path+" "+rest, http.StatusNotFound)
	}
	return true
}

// stream sends five pieces, each by itself.
func stream(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	form := "{\"n\":%d}\n"
	if kind == "sse" {
		w.Header().Set("Content-Type", "text/event-stream")
		form = "data: {\"n\":%d}\n\n"
	}
	for n := range 5 {
		fmt.Fprintf(w, form, n)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

// breakOff ends an answer as it should not.
func breakOff(w http.ResponseWriter, r *http.Request, how string) {
	if how == "hang" {
		<-r.Context().Done()
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if how == "cutoff" {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this\n")
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closing then resets
	}
}

// switchProtocols is a WebSocket that says nothing.
func switchProtocols(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
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
	s.plain = &http.Server{Handler: s.server.Config.Handler, Protocols: protocols, DisableGeneralOptionsHandler: true}
	s.plainURL = "http://" + l.Addr().String()
	go func() { _ = s.plain.Serve(l) }() // ends with Close
	return nil
}
