package cassette

import (
	"regexp"
	"strings"
)

// pattern is a shape that only secrets and personal data have.
type pattern struct {
	kind string
	// must holds texts of which one has to be there, so that the expression is
	// tried on few texts only.
	must []string
	re   *regexp.Regexp
	// group is the part to replace; 0 is all.
	group int
}

// The shapes of credentials are those that their makers document; each is
// specific enough not to be met in ordinary traffic.
var patterns = []pattern{
	{"pem", []string{"-----BEGIN"}, regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), 0},
	{"jwt", []string{"eyJ"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`), 0},
	{"bearer", []string{"earer "}, regexp.MustCompile(`(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})`), 1},
	{"basic", []string{"asic "}, regexp.MustCompile(`(?i)\bbasic\s+([A-Za-z0-9+/]{8,}={0,2})`), 1},
	{"stripe", []string{"k_live_", "k_test_", "whsec_"}, regexp.MustCompile(`\b([sr]k_(live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})`), 0},
	{"github", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}, regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{22,})`), 0},
	{"gitlab", []string{"glpat-"}, regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`), 0},
	{"slack", []string{"xox", "xapp-"}, regexp.MustCompile(`\b(xox[abeoprs](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}`), 0},
	{"slack_webhook", []string{"hooks.slack.com"}, regexp.MustCompile(`hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9]{6,}/[A-Za-z0-9/]{6,})`), 1},
	{"aws", []string{"AKIA", "ASIA", "ABIA", "ACCA"}, regexp.MustCompile(`\b(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`), 0},
	{"google", []string{"AIza", "ya29.", "GOCSPX-"}, regexp.MustCompile(`\b(AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})`), 0},
	{"sendgrid", []string{"SG."}, regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`), 0},
	{"openai", []string{"sk-"}, regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{20,}`), 0},
	{"hubspot", []string{"pat-"}, regexp.MustCompile(`\bpat-(na|eu)\d-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), 0},
	{"shopify", []string{"shpat_", "shpss_", "shpca_", "shppa_"}, regexp.MustCompile(`\bshp(at|ss|ca|pa)_[a-fA-F0-9]{32}`), 0},
	{"twilio", []string{"SK"}, regexp.MustCompile(`\bSK[0-9a-f]{32}\b`), 0},
	{"telegram", []string{":AA"}, regexp.MustCompile(`\b\d{8,10}:AA[A-Za-z0-9_-]{30,}`), 0},
	{"npm", []string{"npm_"}, regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}`), 0},
	{"posthog", []string{"phx_", "phs_"}, regexp.MustCompile(`\bph[xs]_[A-Za-z0-9]{20,}`), 0},
	{"facebook", []string{"EAA"}, regexp.MustCompile(`\bEAA[A-Za-z0-9]{40,}`), 0},
	{"userinfo", []string{"://"}, regexp.MustCompile(`://([^/\s:@"'<>]+:[^/\s@"'<>]+)@`), 1},
	{"email", []string{"@", "%40"}, regexp.MustCompile(`[A-Za-z0-9._%+-]{1,64}(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b`), 0},
	{"phone", []string{"+"}, regexp.MustCompile(`(?:^|[^\w.+-])(\+[1-9](?:[ ().-]{0,2}\d){8,14})(?:$|[^\w+=])`), 1},
}

// possible tells whether a pattern may match, cheaply.
func (p *pattern) possible(s string) bool {
	if len(s) < 15 && p.kind != "email" && p.kind != "phone" && p.kind != "basic" && p.kind != "userinfo" {
		return false // all others are longer
	}
	for _, m := range p.must {
		if strings.Contains(s, m) {
			return true
		}
	}
	return false
}

// harmless are matches that are nobody's: reserved domains and numbers
// (RFC 2606, RFC 6761; the fictitious numbers 555-01xx), and our own tokens.
func harmless(kind, s string) bool {
	switch kind {
	case "email":
		s = strings.ToLower(s)
		_, domain, ok := strings.Cut(strings.ReplaceAll(s, "%40", "@"), "@")
		if !ok {
			return true
		}
		for _, d := range []string{"example.com", "example.org", "example.net", "localhost"} {
			if domain == d || strings.HasSuffix(domain, "."+d) {
				return true
			}
		}
		for _, tld := range []string{".example", ".test", ".invalid", ".localhost"} {
			if strings.HasSuffix(domain, tld) {
				return true
			}
		}
	case "phone":
		digits := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, s)
		if n := len(digits); n >= 7 && strings.HasPrefix(digits[n-7:], "55501") || strings.HasPrefix(digits, "1555") {
			return true
		}
	}
	return isToken(s) || strings.HasPrefix(s, "REDACTED")
}

// tokenMark begins every token that stands for a secret.
const tokenMark = "REDACTED:"

var (
	tokenRE = regexp.MustCompile(`REDACTED(?::|%3A)([a-z_]+)(?::|%3A)([0-9a-f]{8})`)
	emailRE = regexp.MustCompile(`user-([0-9a-f]{8})(?:@|%40)example\.invalid`)
	wholeRE = regexp.MustCompile(`^(REDACTED(:|%3A)[a-z_]+(:|%3A)[0-9a-f]{8}|user-[0-9a-f]{8}(@|%40)example\.invalid)$`)
)

func isToken(s string) bool { return wholeRE.MatchString(s) }

// span is a part of a text.
type span struct{ from, to int }

// pairs yields the values to which a text gives names that announce secrets,
// name=value, "name":"value" and name: value, where it is neither a form nor
// JSON as a whole: a log line, an error page, a script.
func pairs(s string) func(yield func(kind string, at span) bool) {
	return func(yield func(kind string, at span) bool) {
		next := 0 // what comes before is part of a value
		for i := 0; i < len(s); i++ {
			if c := s[i]; c != '=' && c != ':' || i < next {
				continue
			}
			end := i
			quoted := end > 0 && (s[end-1] == '"' || s[end-1] == '\'')
			if quoted {
				if end--; end > 0 && s[end-1] == '\\' {
					end--
				}
			}
			start := end
			for start > 0 && end-start < 64 && isName(s[start-1]) {
				start--
			}
			if start == end || s[i] == '=' && quoted {
				continue
			}
			kind := keyKind(last(s[start:end]))
			if kind == "" {
				continue
			}
			from := i + 1
			for s[i] == ':' && from < len(s) && s[from] == ' ' {
				from++
			}
			spaced := from > i+1
			if from < len(s) && s[from] == '\\' {
				from++
			}
			inQuotes := from < len(s) && (s[from] == '"' || s[from] == '\'')
			if inQuotes {
				from++
			}
			stop := "& \t\r\n\"'<>;,\\"
			if inQuotes {
				stop = "\"'\\"
			}
			to := from
			for to < len(s) && strings.IndexByte(stop, s[to]) < 0 {
				to++
			}
			least := 4
			if s[i] == ':' && !inQuotes { // prose has colons, too
				if least = 12; !spaced || quoted {
					continue
				}
			}
			if to-from < least {
				continue
			}
			if next = to; !yield(kind, span{from, to}) {
				return
			}
		}
	}
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '$'
}

// keyKinds are names of members, parameters, form fields and headers whose
// values are secret, in lower case without punctuation.
var keyKinds = map[string]string{
	"password": "password", "passwd": "password", "pwd": "password", "passphrase": "password",
	"secret": "secret", "token": "token", "apikey": "key", "apisecret": "secret", "appkey": "key", "auth": "token", "authorization": "token", "xauth": "token",
	"credential": "secret", "credentials": "secret", "sig": "signature", "signature": "signature", "jwt": "jwt",
	"bearer": "token", "accesskey": "key", "accesskeyid": "key", "privatekey": "key", "writekey": "key", "servicekey": "key", "licensekey": "key", "authkey": "key", "sharedkey": "key",
	"cardnumber": "card", "ccnumber": "card", "cvv": "card", "cvc": "card", "ssn": "ssn",
	"email": "email", "emailaddress": "email", "useremail": "email", "phone": "phone", "phonenumber": "phone", "mobile": "phone", "mobilephone": "phone",
	"sha256email": "hashed", "sha256emailaddress": "hashed", "hashedemail": "hashed", "emailsha256": "hashed", "sha256phonenumber": "hashed", "hashedphone": "hashed", "phonesha256": "hashed", "em": "hashed", "ph": "hashed",
}

// keySuffixes make a name secret by its end.
var keySuffixes = []struct{ suffix, kind string }{
	{"password", "password"}, {"secret", "secret"}, {"token", "token"}, {"apikey", "key"}, {"accesskey", "key"}, {"secretkey", "key"}, {"privatekey", "key"}, {"writekey", "key"}, {"authkey", "key"}, {"signature", "signature"}, {"credentials", "secret"},
}

// notSecret are names that end like a secret's and are none: a program gets
// them in one answer to send them in its next request.
var notSecret = map[string]bool{
	"nexttoken": true, "nextpagetoken": true, "pagetoken": true, "continuationtoken": true, "nextcontinuationtoken": true, "synctoken": true, "nextsynctoken": true, "paginationtoken": true, "cursortoken": true, "idempotencytoken": true, "clientrequesttoken": true, "prevpagetoken": true,
}

// keyKind returns the kind of secret that a name announces, or "".
func keyKind(name string) string {
	if len(name) > 64 {
		return ""
	}
	var buf [64]byte
	n := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
			fallthrough
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			buf[n] = c
			n++
		}
	}
	if kind, ok := keyKinds[string(buf[:n])]; ok {
		return kind
	}
	for _, s := range keySuffixes {
		if n > len(s.suffix) && string(buf[n-len(s.suffix):n]) == s.suffix {
			if notSecret[string(buf[:n])] {
				return ""
			}
			return s.kind
		}
	}
	return ""
}

// secretHeader returns the kind of secret that a header holds, or "".
func secretHeader(name string) string {
	switch name {
	case "Authorization", "Proxy-Authorization":
		return "authorization"
	case "Cookie", "Set-Cookie":
		return "cookie"
	case "Www-Authenticate", "X-Amz-Content-Sha256":
		return ""
	case "X-Amz-Security-Token":
		return "token"
	}
	if kind := keyKind(name); kind != "" {
		return kind
	}
	if strings.HasPrefix(name, "X-") && (strings.HasSuffix(name, "-Key") || strings.HasSuffix(name, "-Auth")) && !strings.Contains(name, "Idempotency") {
		return "key"
	}
	return ""
}
