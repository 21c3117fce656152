package run

import (
	"encoding/base32"
	"encoding/json"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"

	"github.com/fanfold/fanfold/pkg/secret"
)

// The state says which configuration a run has, without its secrets, so that a change of it is noticed. What is
// secret in it is sealed: in its place stands a mask with a print, which changes when the secret does. Whoever gets
// hold of the state can test guesses of a secret against its print, and no key that lies beside the state would keep
// him from that. So a guess is made expensive: a print takes milliseconds and memory (Argon2id), ten thousand times
// what a plain hash takes. What is declared as a secret of a destination is in no print at all.
// docs/architecture.md has the reasons.

const (
	sealRounds = 1
	sealMemory = 4 << 10 // KiB
	sealBytes  = 6
)

// sealedRE is a mask with the print of what it stands for, or without one, as older versions stored it.
var sealedRE = regexp.MustCompile(regexp.QuoteMeta(secret.Mask) + `(?:~([a-z2-7]{10}))?`)

// sealer makes prints. The zero sealer is ready. It is safe for concurrent use.
type sealer struct {
	mu   sync.Mutex
	made map[[2]string]string
}

// print is a text that tells whether a value is the same. The salt, the id of what a run reads, makes it another one
// for everybody. It takes about 5 ms, once for each value.
func (s *sealer) print(salt, value string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.made[[2]string{salt, value}]
	if !ok {
		sum := argon2.IDKey([]byte(value), []byte("fanfold configuration\x00"+salt), sealRounds, sealMemory, 1, sealBytes)
		p = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))
		if s.made == nil {
			s.made = map[[2]string]string{}
		}
		s.made[[2]string{salt, value}] = p
	}
	return p
}

// seal is a text of a configuration as it is stored.
func (w *World) seal(salt, text string) string {
	if w.Hide == nil {
		return text
	}
	return w.Hide(text, func(stretch string) string { return secret.Mask + "~" + w.sealer.print(salt, stretch) })
}

// stands says whether a stored text stands for one of today's configuration. What is a secret may have changed since:
// a text is one only as long as the configuration says so of another place in which it stands, too. "": a salt of
// older versions, whose masks may stand for anything.
func (w *World) stands(salt, stored, text string) bool {
	if stored == text || salt != "" && stored == w.seal(salt, text) {
		return true
	}
	masks := sealedRE.FindAllStringSubmatchIndex(stored, -1)
	rest, at := text, 0
	for i, m := range masks {
		print := ""
		if m[2] >= 0 {
			print = stored[m[2]:m[3]]
		} else if salt != "" { // somebody's own asterisks
			continue
		}
		var ok bool
		if rest, ok = strings.CutPrefix(rest, stored[at:m[0]]); !ok {
			return false
		}
		at = m[1]
		after := stored[at:]
		if i+1 < len(masks) {
			after = stored[at:masks[i+1][0]]
		}
		end := strings.LastIndex(rest, after)
		if i+1 < len(masks) {
			end = strings.Index(rest, after)
		}
		if end < 0 || print != "" && w.sealer.print(salt, rest[:end]) != print {
			return false
		}
		rest = rest[end:]
	}
	return at > 0 && rest == stored[at:]
}

// asStored is a value of today's configuration with the stored text wherever that stands for its own; any other text
// is sealed. Values are as encoding/json decodes them.
func (w *World) asStored(salt string, stored, now any, own string) any {
	switch v := now.(type) {
	case string:
		if old, ok := stored.(string); ok && w.stands(salt, old, v) {
			return old
		}
		return w.seal(own, v)
	case json.Number: // a secret may be one
		if text := w.asStored(salt, stored, v.String(), own); text != v.String() {
			return text
		}
	case []any:
		old, _ := stored.([]any)
		for i := range v {
			var was any
			if i < len(old) {
				was = old[i]
			}
			v[i] = w.asStored(salt, was, v[i], own)
		}
	case map[string]any:
		old, _ := stored.(map[string]any)
		out := make(map[string]any, len(v))
		for k, member := range v {
			name := w.seal(own, k)
			for was := range old {
				if w.stands(salt, was, k) {
					name = was
				}
			}
			out[name] = w.asStored(salt, old[name], member, own)
		}
		return out
	}
	return now
}
