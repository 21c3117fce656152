package redact

import (
	_ "embed"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// match is a part of a text that should be replaced.
type match struct {
	from, to int
	kind     string
	with     string // the replacement; "": a token
	exact    bool   // a known value, which wins over all other matches
}

// rule describes the shape of a credential, or of personal data: a form that other
// values do not have.
type rule struct {
	kind string
	// keys are texts in lower case. One of them is near every match, so the expression
	// is tried only around them.
	keys    []string
	upper   bool    // a key begins with two upper-case letters
	begins  bool    // a value begins with its key
	entropy float64 // the least number of bits per character; 0: any
	source  string
	ok      func(value string) bool // nil: every match
	// at, if not nil, decides by what stands around a value.
	at func(text string, from, to int) bool
	// may is a quick check of the text behind a key. If it returns false, there is no
	// match and the expression need not be tried, which is much slower. nil: no check.
	may func(behind string) bool

	once sync.Once
	re   *regexp.Regexp
}

// heads is true if the rule's values begin with a key. A key in the middle of a word
// then does not count.
func (r *rule) heads(key string) bool {
	rest, ok := strings.CutPrefix(r.source, `\b`)
	if !ok {
		return false
	}
	rest = strings.TrimLeft(rest, "(?:")
	rest = strings.TrimPrefix(rest, "i)")
	return len(rest) >= len(key) && strings.EqualFold(rest[:len(key)], key)
}

func (r *rule) compiled() *regexp.Regexp {
	r.once.Do(func() { r.re = regexp.MustCompile(r.source) })
	return r.re
}

// maintained are the rules of gitleaks, see rules_gen.go. documented are shapes that
// the makers of credentials document, in the same format with additional flags.
var (
	//go:embed rules.tsv
	maintained string
	//go:embed shapes.tsv
	documented string
)

// marks say, for a hash of three bytes, what may begin with them: the key of a shape, a
// known value, or a payment card's number.
type marks [1 << 15]uint8

const (
	markShape = 1 << iota
	markKnown
	markCard
	markMail // an @ sign
	markSign // a sign that may be between a name and a value
)

// three appends a byte, in lower case, to the last two.
func three(w uint32, c byte) uint32 { return (w<<8 | uint32(folded[c])) & 0xffffff }

func (m *marks) put(s string, mark uint8) { m[near(three(three(three(0, s[0]), s[1]), s[2]))] |= mark }

// next returns the index of the next marked byte, the three bytes that end there, and
// the mark. If there is none, it returns the end of the text. w holds the two bytes
// before i.
func (m *marks) next(s string, i int, w uint32) (at int, three uint32, mark uint8) {
	for ; i < len(s); i++ {
		step := steps[s[i]]
		w = (w<<8 | uint32(step&0xff)) & 0xffffff
		if mark := m[near(w)] | uint8(step>>8); mark != 0 {
			return i, w, mark
		}
	}
	return i, w, 0
}

// steps is a table of all bytes: the byte in lower case and, in the upper half, the
// marks that it has by itself.
var steps = func() (table [256]uint16) {
	for c := range 256 {
		table[c] = uint16(folded[c])
		switch {
		case traitTable[c]&mails != 0:
			table[c] |= markMail << 8
		case traitTable[c]&(equals|signs) != 0:
			table[c] |= markSign << 8
		}
	}
	return table
}()

func near(w uint32) uint32 { return w * 0x9e3779b1 >> 17 }

// shapes finds values by their shape. It is safe for concurrent use.
type shapes struct {
	rules []*rule
	marks marks
	slots [len(marks{})]uint16 // index into keys, by the hash of a key's first three bytes
	keys  [][]keyOf            // the keys of each slot; slot 0 is empty
}

type keyOf struct {
	text  string
	three uint32 // its first bytes
	rule  *rule
	heads bool // values begin with this key
}

// newShapes reads the rules, and marks how their values, and payment cards, begin.
func newShapes() *shapes {
	s := &shapes{keys: make([][]keyOf, 1)}
	rules := append(ownRules(), readRules(documented)...)
	rules = append(rules, readRules(maintained)...)
	for _, r := range rules {
		for _, key := range r.keys {
			key = strings.ToLower(key)
			if len(key) < 3 { // preceded by a digit
				for d := range 10 {
					s.put(strconv.Itoa(d)+key, r)
				}
				continue
			}
			s.put(key, r)
		}
	}
	s.rules = rules
	for n := range 1000 {
		if d := strconv.Itoa(n); len(d) == 3 && mayBeCard(d) {
			s.marks.put(d, markCard)
		}
	}
	return s
}

// readRules reads lines of name, keywords, entropy, expression and optional flags:
// begins (a value begins with its keyword), upper (a keyword begins with two capital
// letters), digit (a value has a digit), word=N (at least N characters of a word
// follow).
func readRules(text string) (rules []*rule) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		entropy, _ := strconv.ParseFloat(f[2], 64) // generated, or checked by a test
		r := &rule{kind: kindOfRule(f[0]), keys: strings.Split(f[1], ","), entropy: entropy, source: f[3]}
		if strings.Contains(r.source, assigned) {
			r.may = assigns
		}
		for _, flag := range strings.Split(strings.Join(f[4:], ","), ",") {
			name, value, _ := strings.Cut(flag, "=")
			switch name {
			case "begins":
				r.begins = true
			case "upper":
				r.upper = true
			case "digit":
				r.ok = HasDigit
			case "word":
				n, _ := strconv.Atoi(value)
				r.may = goesOn(n)
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func (s *shapes) put(key string, r *rule) {
	w := three(three(three(0, key[0]), key[1]), key[2])
	s.marks.put(key, markShape)
	slot := &s.slots[near(w)]
	if *slot == 0 {
		*slot = uint16(len(s.keys)) // there are fewer keys than that
		s.keys = append(s.keys, nil)
	}
	s.keys[*slot] = append(s.keys[*slot], keyOf{key, w, r, r.begins || r.heads(key)})
}

// assigned is what the rules allow between a name and its value.
const assigned = `(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)`

// assigns is true if the text behind a name can begin an assignment.
func assigns(behind string) bool {
	i := 0
	for i < len(behind) && i < 20 && (isName(behind[i]) && behind[i] != '$' || behind[i] == ' ' || behind[i] == '\t') {
		i++
	}
	for k := 0; k < 3 && i < len(behind) && strings.IndexByte(" \t\r\n\f'\"", behind[i]) >= 0; k++ {
		i++
	}
	return i < len(behind) && strings.IndexByte("=>:|?,", behind[i]) >= 0
}

// kindOfRule is the form of a rule's name that a token may contain.
func kindOfRule(name string) string {
	name, _, _ = strings.Cut(name, "-")
	return strings.ReplaceAll(name, ".", "_")
}

// How many bytes before and behind a key are searched. The search also includes the
// rest of the last word, up to longWord.
const (
	before    = 120
	behindKey = 320
	longWord  = 1 << 14
)

// gone records for each rule with long values how far the text was already searched.
type gone struct {
	to     map[*rule]int
	effort *effort
}

// at appends the secrets whose key begins at index at. w are the key's first three
// bytes.
func (s *shapes) at(text string, at int, w uint32, gone *gone, found []match) []match {
	list := s.keys[s.slots[near(w)]]
	for i := range list {
		k := &list[i]
		n := len(k.text)
		switch {
		case k.three != w, n > len(text)-at, !hasFolded(text[at:], k.text, 3),
			k.heads && at > 0 && IsAlnum(text[at-1]),
			k.rule.upper && (fold(text[at]) == text[at] || fold(text[at+1]) == text[at+1]),
			k.rule.may != nil && !k.rule.may(text[at+n:]):
			continue
		}
		found = k.rule.around(text, at, n, gone, found)
	}
	return found
}

// hasFolded is true if text begins with lower, without regard to case. The first from
// bytes are not compared. lower is in lower case and not longer than text.
func hasFolded(text, lower string, from int) bool {
	for i := from; i < len(lower); i++ {
		if folded[text[i]] != lower[i] {
			return false
		}
	}
	return true
}

// mentioned is true if a name contains a rule's key.
func (s *shapes) mentioned(name string) bool {
	var w uint32
	for i := range len(name) {
		w = three(w, name[i])
		if i < 2 || s.marks[near(w)]&markShape == 0 {
			continue
		}
		for _, k := range s.keys[s.slots[near(w)]] {
			if rest := name[i-2:]; len(k.text) <= len(rest) && strings.EqualFold(rest[:len(k.text)], k.text) {
				return true
			}
		}
	}
	return false
}

// around tries a rule near a key. A rule with long values searches twice as much at
// once, and then skips the keys in the first half of that. Otherwise a text full of
// keys would be searched once for each of them.
func (r *rule) around(text string, at, n int, done *gone, found []match) []match {
	from, to := max(0, at-before), min(len(text), at+behindKey)
	most := behindKey + before
	far := r.kind == "pem" || r.kind == "jwt" || strings.Contains(r.source, "00}") // values may be long
	if far {
		if at+n <= done.to[r] {
			return found
		}
		most = 2 * longWord
	}
	if r.kind == "pem" {
		to = min(len(text), at+most)
	}
	for to < len(text) && to-at < most && IsWord(text[to]) {
		to++
	}
	for from > 0 && IsWord(text[from]) && IsWord(text[from-1]) && at-from < 2*before {
		from--
	}
	if far {
		if done.to == nil {
			done.to = map[*rule]int{}
		}
		done.to[r] = max(to-behindKey, at+n)
		if to == len(text) {
			done.to[r] = to
		} else if to-at >= most {
			done.to[r] = at + longWord
		}
	}
	part := text[from:to]
	done.effort.add(len(part))
	for _, m := range r.compiled().FindAllStringSubmatchIndex(part, -1) {
		a, b := m[0], m[1]
		for g := 2; g+1 < len(m); g += 2 {
			if m[g] >= 0 && m[g] < m[g+1] {
				a, b = m[g], m[g+1]
				break
			}
		}
		value := part[a:b]
		switch {
		case !far && (from+m[0] > at+n || from+m[1] < at): // belongs to another key
		case r.entropy > 0 && entropy(value) < r.entropy, r.ok != nil && !r.ok(value), placeholder(value),
			r.at != nil && !r.at(text, from+a, from+b):
		default:
			found = append(found, match{from: from + a, to: from + b, kind: r.kind})
		}
	}
	return found
}

// entropy is Shannon's entropy, in bits per character.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// placeholder is true for a value that only stands for a secret, as in documentation
// and templates.
func placeholder(v string) bool {
	lower := strings.ToLower(v)
	return placeholderAddress(v) || strings.Contains(lower, "example") || yours.MatchString(lower)
}

// yours is how documentation names what is the reader's.
var yours = regexp.MustCompile(`(?:^|[^a-z])your[_-]`)

// placeholderAddress is the same for an address of e-mail: example-shop.de and your-bank.com are domains of somebody.
// Those that belong to nobody are known by their whole names: see harmless.
func placeholderAddress(v string) bool {
	if IsToken(v) || strings.HasPrefix(v, "REDACTED") {
		return true
	}
	lower := strings.ToLower(v)
	for _, mark := range []string{"xxxx", "****", "....", "placeholder", "changeme", "${", "{{", "<"} {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return len(v) > 0 && strings.Count(v, v[:1]) == len(v)
}

// ownRules returns the shapes of personal data, and those that occur only in traffic.
func ownRules() []*rule {
	return []*rule{
		{kind: "pem", keys: []string{"-----begin"},
			source: `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----` +
				`[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)`},
		{kind: "jwt", begins: true, keys: []string{"eyj"}, may: secondPart,
			source: `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3}`},
		{kind: "bearer", keys: []string{"bearer"}, may: afterBlank,
			source: `(?i)\bbearer[ +]+([A-Za-z0-9._~+/-]{8,}={0,2})(?:[^A-Za-z0-9._~+/=-]|$)`, ok: bearing},
		{kind: "basic", keys: []string{"basic"}, may: afterBlank,
			source: `(?i)\bbasic[ +]+([A-Za-z0-9+/]{8,}={0,2})(?:[^A-Za-z0-9+/=]|$)`, ok: isUserAndPassword},
		{kind: "userinfo", keys: []string{"://"}, may: hasUser, source: `://([^/\s:@"'<>\\]*:[^/\s@"'<>\\]+)@`},
		{kind: "password", keys: []string{"curl ", "http ", "https ", "xh "}, may: hasLogin, source: `(?:^|[^\w./-])(?:` +
			`curl|https?|xh)(?: (?:[^\n|;]|\\\r?\n)*?)?\s["']?(?:-[a-zA-Z]{0,8}[ua]|-U|--user|--proxy-user|--auth)[= ]*["']?` +
			`[^\s:"'=]+:([^\s"'\\:]{4,})`, ok: func(v string) bool {
			return keyKind(v) == "" && strings.IndexByte("$%{/", v[0]) < 0
		}},
		{kind: "phone", keys: plusDigits(), source: `(?:^|[^\w.+-])(\+[1-9](?:[ ().-]{0,2}\d){8,14})(?:$|[^\w+=])`,
			at: notInJSON, ok: func(v string) bool { return !harmless("phone", v) }},
		{kind: "iban", begins: true, upper: true, keys: countries(), may: goesOnUpper,
			source: `\b([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?:[^A-Za-z0-9]|$)`, ok: isIBAN},
	}
}

// goesOn returns a check that at least n characters of a word follow.
func goesOn(n int) func(behind string) bool {
	return func(behind string) bool {
		if len(behind) < n {
			return false
		}
		for i := range n {
			if !isBase64(behind[i]) {
				return false
			}
		}
		return true
	}
}

// secondPart is true if the head of a JWT is followed by its claims.
func secondPart(behind string) bool {
	i := 0
	for i < len(behind) && i < longWord && (IsAlnum(behind[i]) || behind[i] == '_' || behind[i] == '-') {
		i++
	}
	return i >= 8 && strings.HasPrefix(behind[i:], ".eyJ")
}

// afterBlank is true if a blank follows, or the plus that encodes one.
func afterBlank(behind string) bool { return behind != "" && (behind[0] == ' ' || behind[0] == '+') }

// hasLogin is true if a user and a password may follow a command.
func hasLogin(behind string) bool {
	behind = behind[:min(len(behind), behindKey)]
	return strings.Contains(behind, ":") && (strings.Contains(behind, "-u") || strings.Contains(behind, "-a") ||
		strings.Contains(behind, "-U") || strings.Contains(behind, "u "))
}

// hasUser is true if :// is followed by a user and a password.
func hasUser(behind string) bool {
	end := strings.IndexAny(behind[:min(len(behind), behindKey)], "/@ \t\r\n\f\"'<>\\")
	return end > 0 && behind[end] == '@' && strings.IndexByte(behind[:end], ':') >= 0
}

// goesOnUpper is true if a digit, and then four characters of an account number,
// follow.
func goesOnUpper(behind string) bool {
	if len(behind) < 11 || behind[0] < '0' || behind[0] > '9' {
		return false
	}
	at := 1
	if behind[at] == ' ' {
		at++
	}
	for _, c := range []byte(behind[at : at+4]) {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// emailAt returns the email address whose @ is at index at, if there is one.
func emailAt(text string, at int) (m match, ok bool) {
	from := at
	for from > 0 && (IsAlnum(text[from-1]) || strings.IndexByte("._%+-", text[from-1]) >= 0) {
		from--
	}
	switch {
	case from > 0 && text[from-1] == '\\': // the letter belongs to an escape
		from++
	case from > 0 && text[from-1] == '@':
		from = behindDomain(text, from, at)
	}
	end := at + 1
	first := -1 // the first dot behind a valid label
	label := end
	for ; end < len(text) && end-at < 1000; end++ {
		c := text[end]
		if c == '.' {
			if end == label || end-label > 63 {
				break
			}
			if first < 0 {
				first = end
			}
			label = end + 1
		} else if !IsAlnum(c) && c != '-' {
			break
		}
	}
	if from >= at || first < 0 {
		return match{}, false
	}
	for dot := end - 1; dot >= first; dot-- {
		if text[dot] != '.' {
			continue
		}
		to := dot + 1
		for to < end && to-dot <= 25 && (text[to]|0x20) >= 'a' && (text[to]|0x20) <= 'z' {
			to++
		}
		if n := to - dot - 1; n < 2 || n > 24 || to < len(text) && (IsAlnum(text[to]) || text[to] == '_') {
			continue
		}
		if to < len(text) && (text[to] == '/' || text[to] == ':') && to+1 < len(text) && (IsAlnum(text[to+1]) ||
			strings.IndexByte("._-", text[to+1]) >= 0) {
			continue // a repository, or a user at a host
		}
		value := text[from:to]
		if !isAddress(value) || placeholderAddress(value) || harmless("email", value) {
			return match{}, false
		}
		return match{from: from, to: to, kind: "email"}, true
	}
	return match{}, false
}

// behindDomain returns where an address can begin whose characters follow the domain of another address: behind the
// plus, or the escape, between the two. It is from if there is none.
func behindDomain(text string, from, at int) int {
	n := strings.IndexAny(text[from:at], "+%")
	if n < 0 {
		return from
	}
	next := from + n + 1
	if text[next-1] == '%' {
		next += 2
	}
	if next >= at {
		return from
	}
	return next
}

func plusDigits() (keys []string) {
	for _, sep := range []string{"", " ", "(", "-"} {
		for a := 1; a < 10; a++ {
			if sep == "" {
				for b := range 10 {
					keys = append(keys, "+"+strconv.Itoa(a)+strconv.Itoa(b))
				}
				continue
			}
			keys = append(keys, "+"+strconv.Itoa(a)+sep)
		}
	}
	return keys
}

// bearing is true for a token, and false for the words that follow "bearer" in prose.
func bearing(v string) bool {
	return HasDigit(v) || len(v) >= 20 && !strings.ContainsAny(v, "._-/")
}

// isUserAndPassword is true for the credentials of basic authentication, and false for
// the words that follow "basic" in prose.
func isUserAndPassword(v string) bool {
	plain, _, ok := unbase64(v)
	return ok && strings.Contains(plain, ":") && IsText(plain) || ok && strings.HasSuffix(v, "=") &&
		HasDigit(v)
}

// notDomains are the ends of file names, as in logo@2x.png, and of the names of
// systemd's units. No email address ends like that.
var notDomains = []string{".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif", ".ico", ".css", ".js",
	".mjs", ".html", ".service", ".socket", ".target", ".timer", ".mount", ".slice", ".path"}

// isAddress is true for email addresses, and false for the names of files and
// repositories that look like one.
func isAddress(v string) bool {
	if harmless("email", v) {
		return false
	}
	user, domain, _ := strings.Cut(strings.ToLower(v), "@")
	for _, end := range notDomains {
		if strings.HasSuffix(domain, end) {
			return false
		}
	}
	return user != "git" && !strings.HasPrefix(domain, "-") && user != "" && strings.Trim(user, ".%+-") != ""
}

// isEmail is true if the whole value is an email address, however long it is: what is found as one is replaced.
func isEmail(v string) bool {
	user, domain, ok := strings.Cut(v, "@")
	return ok && user != "" && strings.Contains(domain, ".") && !strings.ContainsAny(v,
		" \t\r\n<>\",;") && isAddress(v)
}

// harmless is true for values that belong to nobody: reserved domains and numbers (RFC
// 2606, RFC 6761; the fictitious numbers 555-01xx).
func harmless(kind, s string) bool {
	switch kind {
	case "email":
		_, domain, ok := strings.Cut(strings.ToLower(s), "@")
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
		d := digits(s)
		if n := len(d); n >= 7 && strings.HasPrefix(d[n-7:], "55501") || strings.HasPrefix(d, "1555") {
			return true
		}
	}
	return IsToken(strings.TrimPrefix(s, "+")) || strings.HasPrefix(s, "REDACTED")
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// cardAt returns the payment card number that begins at an index: digits, or groups of
// four, with a valid Luhn sum and a known beginning. Numbers that payment providers
// publish for tests do not count.
func cardAt(s string, from int) (m match, ok bool) {
	if from > 0 && (glued(s[from-1]) || s[from-1] >= '0' && s[from-1] <= '9') {
		return match{}, false
	}
	to := from
	for i, n := from, 0; i < min(len(s), from+25); i++ {
		if s[i] >= '0' && s[i] <= '9' {
			to, n = i+1, n+1
		} else if (s[i] != ' ' && s[i] != '-') || n%4 != 0 && n != 4 && n != 10 || to != i {
			break
		}
	}
	if to-from < 13 || to-from > 23 || to < len(s) && (glued(s[to]) ||
		s[to] == '.' && to+1 < len(s) && s[to+1] >= '0' && s[to+1] <= '9') {
		return match{}, false
	}
	return match{from: from, to: to, kind: "card"}, isCard(digits(s[from:to]))
}

// mayBeCard is true if a card number may begin with these three digits.
func mayBeCard(d string) bool {
	switch {
	case d[0] == '4', d[0] == '5' && d[1] >= '1' && d[1] <= '5', d[0] == '2' && d[1] >= '2' && d[1] <= '7',
		d[0] == '6' && (d == "601" || d[1] == '4' || d[1] == '5'),
		d[0] == '3' && strings.IndexByte("045678", d[1]) >= 0:
		return true
	}
	return false
}

// glued is true for a byte that, directly beside digits, makes them a part of something
// else.
func glued(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '-' || c == '+' ||
		c == '/' || c == '#'
}

// testCards are numbers that payment providers publish for tests.
var testCards = []string{
	"4242424242424242", "4000056655665556", "5555555555554444", "2223003122003222", "5200828282828210",
	"5105105105105100", "378282246310005", "371449635398431",
	"6011111111111117", "6011000990139424", "3056930009020004", "36227206271667", "3566002020360505",
	"6200000000000005", "4111111111111111", "4012888888881881", "3530111333300000", "30569309025904",
	"38520000023237",
}

// isCard checks the digits of a payment card: how they begin, how many there are, and
// Luhn's sum.
func isCard(d string) bool {
	if len(d) < 13 || len(d) > 19 || slices.Contains(testCards, d) || strings.HasPrefix(d, "400000") {
		return false
	}
	two, _ := strconv.Atoi(d[:2])
	four, _ := strconv.Atoi(d[:4])
	n := len(d)
	switch {
	case d[0] == '4' && (n == 13 || n == 16): // numbers of 19 digits are ids, as no such card is in use
	case (two >= 51 && two <= 55 || four >= 2221 && four <= 2720) && n == 16:
	case (two == 34 || two == 37) && n == 15:
	case (four == 6011 || two == 65 || four/10 >= 644 && four/10 <= 649) && n == 16:
	case (two == 36 || two == 38 || four/10 >= 300 && four/10 <= 305) && n == 14:
	case four >= 3528 && four <= 3589 && n == 16:
	default:
		return false
	}
	sum := 0
	for i := range n {
		v := int(d[n-1-i] - '0')
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0 && strings.Count(d, d[:1]) < n-2
}

// ibanLengths are the lengths of account numbers by country, from SWIFT's registry.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
	"EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27,
	"GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
	"IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27,
	"MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
	"NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
	"SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24,
	"TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}

func countries() (keys []string) {
	for c := range ibanLengths {
		for d := range 10 {
			keys = append(keys, strings.ToLower(c)+strconv.Itoa(d))
		}
	}
	slices.Sort(keys)
	return keys
}

// isIBAN checks the length of an account number, and its remainder modulo 97.
func isIBAN(v string) bool {
	v = strings.ReplaceAll(v, " ", "")
	if len(v) < 15 || ibanLengths[v[:2]] != len(v) {
		return false
	}
	rest := 0
	for _, c := range []byte(v[4:] + v[:4]) {
		switch {
		case c >= '0' && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}
