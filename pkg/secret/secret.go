// Package secret keeps secrets out of what is printed and stored.
//
// A partner says back what it was sent, in whatever form its server writes: JSON with
// \/ or \u0026, a form with %2f and +, HTML with &amp;, base64 of user:password, hex,
// other letters' case, blanks folded, and cut off in the middle. So texts are compared
// after decoding: [Set.Redact] undoes escapes, several layers of them, leaves out what
// servers change (case, white space), and replaces the stretch of the original text in
// which a secret was found.
//
// There is one Set in a process. Logs, errors, summaries, dead letters and journals all
// go through it.
package secret

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Mask stands where a secret was.
const Mask = "***"

// Ellipsis stands at the end of a text that was cut off.
const Ellipsis = "…"

const (
	// Shortest is the length from which a value can be told from other text, in bytes.
	Shortest = 4
	// shortestFolded is the length from which it can be told without its case and
	// white space.
	shortestFolded = 8
	// shortestPart is that of a part of a secret address that is secret by itself.
	shortestPart = 12
	// keyLen is the number of bytes by which forms are looked up, and the Shortest
	// beginning of a secret that is masked where a text was cut.
	keyLen = 3
)

// Set is the secrets of a process. The zero Set has none. It is safe for concurrent use.
type Set struct {
	mu    sync.RWMutex
	known map[string]bool
	exact index // of short secrets: compared as they are
	loose index // of the others: compared folded
}

// form is a secret in one of the forms in which it may turn up.
type form struct {
	text string
	// packed says that it is the inside of an encoding of something longer: what
	// stands around it belongs to it.
	packed bool
	// part is how many bytes of its beginning tell that it was cut off.
	part int
}

// index finds forms by how they begin.
type index struct {
	byKey   map[[keyLen]byte][]form
	pairs   [1 << 16 / 64]uint64 // a bit for each two bytes with which a key begins
	longest int
}

// at returns the forms that may begin where p does, the longest first.
func (x *index) at(p []piece) []form {
	pair := int(p[0].b)<<8 | int(p[1].b)
	if x.pairs[pair>>6]&(1<<(pair&63)) == 0 {
		return nil
	}
	return x.byKey[[keyLen]byte{p[0].b, p[1].b, p[2].b}]
}

func (x *index) add(f form) {
	if len(f.text) < Shortest {
		return
	}
	if x.byKey == nil {
		x.byKey = map[[keyLen]byte][]form{}
	}
	key := [keyLen]byte([]byte(f.text[:keyLen]))
	if slices.ContainsFunc(x.byKey[key], func(have form) bool { return have.text == f.text }) {
		return
	}
	list := append(x.byKey[key], f)
	slices.SortFunc(list, func(a, b form) int { return len(b.text) - len(a.text) })
	x.byKey[key] = list
	pair := int(key[0])<<8 | int(key[1])
	x.pairs[pair>>6] |= 1 << (pair & 63)
	x.longest = max(x.longest, len(f.text))
}

// Add makes values secrets. Those of less than 4 bytes are left out: they cannot be told
// from ordinary text. Of an address, what is secret by itself is one, too: password,
// user, the values of its query, its path.
func (s *Set) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		s.add(v)
		for _, part := range addressParts(v) {
			s.add(part)
		}
	}
}

// add needs s.mu.
func (s *Set) add(v string) {
	if len(v) < Shortest || s.known[v] {
		return
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	s.known[v] = true
	x, change := &s.exact, func(p []piece) []piece { return p }
	if folded := fold(pieces(v)); len(folded) >= shortestFolded {
		x, change = &s.loose, fold
	}
	// The secret itself may look escaped: each layer is a form of it.
	for level := pieces(v); level != nil; level = decode(level) {
		x.add(form{text: text(change(level)), part: keyLen})
	}
	for _, inside := range base64Insides(v) {
		x.add(form{text: text(change(pieces(inside))), packed: true, part: 2 * keyLen})
	}
	s.loose.add(form{text: hex.EncodeToString([]byte(v)), part: 2 * keyLen})
	s.exact.add(form{text: v, part: keyLen})
}

// addressParts are what is secret by itself of an address that is a secret.
func addressParts(v string) []string {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" {
		return nil
	}
	var out []string
	for _, part := range []string{u.RequestURI(), strings.Trim(u.Path, "/"), u.Path[strings.LastIndexByte(u.Path,
		'/')+1:]} {
		if len(part) >= shortestPart {
			out = append(out, part)
		}
	}
	for _, values := range u.Query() {
		for _, value := range values {
			if len(value) >= shortestFolded {
				out = append(out, value)
			}
		}
	}
	return append(out, userinfo(u)...)
}

// userinfo is what stands before the host of an address: a user without a password is
// a token.
func userinfo(u *url.URL) []string {
	if u.User == nil {
		return nil
	}
	if password, ok := u.User.Password(); ok && password != "" {
		return []string{password, u.User.String()}
	}
	return []string{u.User.Username()}
}

// Reference takes a value apart that says where it is kept instead of holding it: SCHEME:NAME, of the environment, a
// file, what a command prints, and AWS. Whose values are not the user's own must not be taken for such.
func Reference(value string) (scheme, name string, ok bool) {
	scheme, name, ok = strings.Cut(value, ":")
	return scheme, name, ok && slices.Contains([]string{"env", "file", "exec", "aws-secretsmanager", "aws-ssm"}, scheme)
}

// OfAddress are the credentials in an address that is no secret as a whole: user and
// password, and the values of parameters whose names announce a credential.
func OfAddress(v string) []string {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" {
		return nil
	}
	out := userinfo(u)
	for name, values := range u.Query() {
		if Announced(name) {
			out = append(out, values...)
		}
	}
	return out
}

// Announced says that what has this name is a credential, by the look of it.
func Announced(name string) bool {
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
	for _, mark := range []string{"token", "secret", "passw", "pwd", "credential", "signature", "apikey", "accesskey",
		"authorization"} {
		if strings.Contains(name, mark) {
			return true
		}
	}
	return slices.Contains([]string{"key", "auth", "sig", "pass", "code", "sas", "jwt", "hmac"}, name)
}

// base64Insides are the characters of a value's base64 that do not depend on what stands
// before and after it, for each of the three ways in which it may be aligned and both
// alphabets.
func base64Insides(v string) (out []string) {
	for shift, from := range []int{0, 2, 3} {
		padded := append(make([]byte, shift), v...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			inside := alphabet.EncodeToString(padded)[from : len(padded)*8/6]
			if len(inside) > Shortest {
				out = append(out, inside)
			}
		}
	}
	return out
}
