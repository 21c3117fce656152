package cmd

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// secrets are the values that must never be printed or stored.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// add notes a secret, in the forms in which it may turn up.
func (s *secrets) add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range withPaths(values) {
		if len(v) < 4 {
			continue // too short to be told from ordinary text
		}
		for _, form := range []string{v, url.QueryEscape(v), base64.StdEncoding.EncodeToString([]byte(v)), base64.StdEncoding.EncodeToString([]byte(v + ":"))} {
			if !slices.Contains(s.values, form) {
				s.values = append(s.values, form)
			}
		}
	}
	slices.SortFunc(s.values, func(a, b string) int { return len(b) - len(a) })
}

// withPaths adds what is secret of secret addresses by itself: a partner may
// say back a path without its host, or the end of it.
func withPaths(values []string) []string {
	out := slices.Clone(values)
	for _, v := range values {
		u, err := url.Parse(v)
		if err != nil || u.Host == "" {
			continue
		}
		for _, part := range []string{u.RequestURI(), strings.Trim(u.Path, "/"), u.Path[strings.LastIndexByte(u.Path, '/')+1:]} {
			if len(part) >= 12 {
				out = append(out, part)
			}
		}
	}
	return out
}

// redact replaces every secret in a text.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, "***")
	}
	return text
}
