package cmd

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/fanfold/fanfold/pkg/destination"
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

// redact replaces every secret in a text, also the beginning of one that was cut off
// there: what partners say is cut before it comes here, and an ellipsis stands where.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, "***")
	}
	for from := 0; ; {
		at := strings.Index(text[from:], destination.Ellipsis)
		if at < 0 {
			return text
		}
		at += from
		if n := s.begun(text[:at]); n > 0 {
			text = text[:at-n] + "***" + text[at:]
			at += len("***") - n
		}
		from = at + len(destination.Ellipsis)
	}
}

// begun is the length of the longest beginning of a secret that a text ends with.
func (s *secrets) begun(text string) (longest int) {
	for _, v := range s.values {
		for n := min(len(v)-1, len(text)); n >= 3 && n > longest; n-- {
			if strings.HasSuffix(text, v[:n]) {
				longest = n
			}
		}
	}
	return longest
}
