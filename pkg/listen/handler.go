package listen

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/fanfold/fanfold/pkg/cassette/replay"
)

// Handler serves what a round tripper answers.
func Handler(rt http.RoundTripper) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := rt.RoundTrip(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // from memory, to memory
	})
}

// Admin answers questions about a replay.
func Admin(p *replay.Replayer) http.Handler {
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // a client that is gone needs no answer
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		answer(w, p.Requests(r.URL.Query().Get("case")))
	})
	mux.HandleFunc("GET /unmatched", func(w http.ResponseWriter, r *http.Request) { answer(w, p.Usage().Missed) })
	mux.HandleFunc("GET /unused", func(w http.ResponseWriter, r *http.Request) { answer(w, p.Usage().Unused) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) {
		p.Reset(r.URL.Query().Get("case"))
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
