package redact

import (
	_ "embed"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longValue is the length from which a value without blanks and quotes is searched only
// once.
const longValue = 2 << 10

// nextByte is the index of the next byte c, or the end of the text if there is none.
func nextByte(s string, at int, c byte) int {
	if n := strings.IndexByte(s[at:], c); n >= 0 {
		return at + n
	}
	return len(s)
}

// mayBePair is a quick check whether the sign at index i can be between a name that
// announces a secret and its value, or can end the tag before a value. bracket is the
// index of the next <.
func mayBePair(s string, i, bracket int) bool {
	end := i
	if s[i] == '>' {
		if i == 0 || s[i-1] != '=' {
			return mayBeElement(s, i, bracket)
		}
		end--
	}
	for end > 0 && strings.IndexByte(" \"'\\", s[end-1]) >= 0 {
		end--
	}
	return mayAnnounce(s[max(0, end-8):end])
}

// mayBeElement is a quick check whether the > at index i can end the tag before a
// value. That is so if the closing tag has a name that announces a secret, or if the
// text between the tags is such a name.
func mayBeElement(s string, i, bracket int) bool {
	behind := s[min(bracket+1, len(s)):min(bracket+66, len(s))]
	if strings.HasPrefix(behind, "!") {
		return true
	}
	if bracket-i < 5 || !strings.HasPrefix(behind, "/") {
		return false
	}
	name, _, ok := strings.Cut(behind[1:], ">")
	return !ok || mayAnnounce(name) || bracket-i < 67 && mayAnnounce(s[i+1:bracket])
}

// attribute reads value="…" in an HTML tag. It is a secret if another attribute of the
// same tag announces one: <input name="csrf_token" value="…">.
func (r *Redactor) attribute(s string, i int) (match, bool) {
	if i+2 >= len(s) || s[i+1] != '"' && s[i+1] != '\'' {
		return match{}, false
	}
	open := strings.LastIndexByte(s[max(0, i-512):i], '<')
	length := strings.IndexByte(s[i+2:], s[i+1])
	if open < 0 || length < 4 {
		return match{}, false
	}
	open += max(0, i-512)
	from, to := i+2, i+2+length
	tag := s[open:min(len(s), to+256)]
	if end := strings.IndexByte(tag, '>'); end >= 0 {
		tag = tag[:end]
	}
	for _, label := range []string{" name=", " id=", " property=", " key=", " type="} {
		_, rest, ok := strings.Cut(tag, label)
		if !ok {
			continue
		}
		name := strings.TrimLeft(rest, "\"'")
		if end := strings.IndexAny(name, "\"' />"); end >= 0 {
			name = name[:end]
		}
		if kind := r.keyKind(last(name)); kind != "" && !personal(kind) {
			return match{from: from, to: to, kind: kind}, true
		}
	}
	return match{}, false
}

// labelled reads a value that comes in the tag after its name:
// <key>password</key><string>…<, <name>password</name><value><string>…<. i is the index
// of the first tag's >.
func (r *Redactor) labelled(s string, i int) (match, bool) {
	text, rest, ok := strings.Cut(s[i+1:min(len(s), i+68)], "<")
	if !ok || len(rest) < 3 || rest[0] != '/' || !mayAnnounce(text) {
		return match{}, false
	}
	tag, _, _ := strings.Cut(s[i+1+len(text)+2:min(len(s), i+len(text)+32)], ">")
	kind := r.keyKind(last(strings.TrimSpace(text)))
	if kind == "" || !labels[flatName(tag)] {
		return match{}, false
	}
	at := i + 1 + len(text)
	for range 3 {
		end := strings.IndexByte(s[at:], '>')
		if end < 0 {
			return match{}, false
		}
		at += end + 1
		for at < len(s) && strings.IndexByte(" \t\r\n", s[at]) >= 0 {
			at++
		}
		if at < len(s) && s[at] != '<' {
			break
		}
	}
	to := strings.IndexByte(s[at:], '<')
	if to < 4 {
		return match{}, false
	}
	return match{from: at, to: at + len(strings.TrimRight(s[at:at+to], " \t\r\n")), kind: kind}, true
}

// pairAt reads the pair whose sign is at index i, if its name announces a secret:
// name=value, "name":"value", name: value, <name>value</name>. It is used for texts
// that are neither a form nor JSON as a whole: a log line, an error page, a script,
// XML.
func (r *Redactor) pairAt(s string, i int) (match, bool) {
	if s[i] == '>' {
		return r.behindBracket(s, i)
	}
	if s[i] == '=' && i > 6 && (s[i-5:i] == "value" || s[i-7:i] == "content") {
		return r.attribute(s, i)
	}
	end := i
	quoted := end > 0 && (s[end-1] == '"' || s[end-1] == '\'')
	if quoted {
		if end--; end > 0 && s[end-1] == '\\' {
			end--
		}
	}
	if s[i] == '=' && quoted {
		return match{}, false
	}
	from := i + 1
	if s[i] == ':' && strings.HasPrefix(s[from:], ": ") { // LDIF has two colons before base64
		from++
	}
	for from < len(s) && s[from] == ' ' && (s[i] == ':' || from-i < 3) {
		from++
	}
	if s[i] == '=' && from > i+1 { // name = value, as in configuration files
		for end > 0 && s[end-1] == ' ' && i-end < 20 {
			end--
		}
	}
	spaced := from > i+1
	from = behind(s, from, quoted && s[i] == ':')
	if s[i] == ':' && !spaced && from < len(s) && strings.IndexByte("\"'\\", s[from]) < 0 {
		return match{}, false // as in many ordinary texts
	}
	m, ok := r.pairValue(s, end, from, quoted || s[i] == '=')
	if !ok {
		return m, false
	}
	value := s[m.from:m.to]
	if m.from > from { // in quotes
		return m, strings.IndexByte(" +.,)", value[0]) < 0 // not "token=" + value
	}
	if strings.HasSuffix(s[:end], value) { // token=token, as programs pass arguments
		return match{}, false
	}
	return m, !isCode(value) && isBare(s[i], value, quoted, spaced)
}

// isBare is true if what stands without quotes behind a sign can be a secret: prose has colons, too, and programs
// assign names.
func isBare(sign byte, value string, quoted, spaced bool) bool {
	if sign == ':' {
		return spaced && !quoted && len(value) >= 12 && HasDigit(value)
	}
	return !spaced || len(value) >= 8 && HasDigit(value)
}

// behindBracket reads the value behind the > at index i: of name => value, or of an element.
func (r *Redactor) behindBracket(s string, i int) (match, bool) {
	if i == 0 || s[i-1] != '=' {
		if m, ok := r.element(s, i); ok {
			return m, true
		}
		return r.labelled(s, i)
	}
	end := i - 1
	for end > 0 && (s[end-1] == ' ' || s[end-1] == '"' || s[end-1] == '\'') {
		end--
	}
	m, ok := r.pairValue(s, end, i+1, true)
	if ok && strings.IndexByte("\"'", s[m.from-1]) < 0 && !HasDigit(s[m.from:m.to]) {
		return match{}, false // an identifier of a program
	}
	return m, ok
}

// behind returns the index where a value begins. It skips comments and, if lines is
// true, line ends: JSON may have both between its parts. After | or > it skips to the
// lines below, where YAML has the text.
func behind(s string, from int, lines bool) int {
	at := from
	for at < len(s) && at-from < 512 {
		switch rest := s[at:min(len(s), from+1<<12)]; {
		case rest[0] == ' ' || rest[0] == '\t' || lines && (rest[0] == '\n' || rest[0] == '\r'):
			at++
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return from
			}
			at += n + len("*/")
		case lines && strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				return from
			}
			at += n
		case !lines && at > from && (rest[0] == '|' || rest[0] == '>'), !lines && at == from &&
			(rest[0] == '|' || rest[0] == '>') && s[from-1] == ' ':
			return block(s, at, from)
		default:
			if lines || rest[0] == '"' || rest[0] == '\'' {
				return at
			}
			return from
		}
	}
	return from
}

// block is the index where a block of YAML text begins, whose sign is at index at. It
// is from if there is no such block.
func block(s string, at, from int) int {
	line, rest, ok := strings.Cut(s[at+1:min(len(s), at+256)], "\n")
	below := strings.TrimLeft(rest, " ")
	if !ok || len(strings.Trim(line, "+-123456789 \r")) > 0 || len(below) == len(rest) {
		return from
	}
	return at + 1 + len(line) + 1 + len(rest) - len(below)
}

// noSecret is true for values that are no secret whatever their name is: a template's
// variable, a package's version, a sentence.
func noSecret(v string) bool {
	if len(v) < 2 {
		return false
	}
	if strings.IndexByte(v, '%') >= 0 { // as forms and queries have it: %3Cstring%3E
		if plain, err := url.QueryUnescape(v); err == nil && len(plain) < len(v) {
			return noSecret(plain)
		}
	}
	scheme, rest, _ := strings.Cut(strings.Replace(v, "+", " ", 1), " ")
	switch strings.ToLower(scheme) {
	case "bearer", "basic", "digest", "negotiate": // alone, or before what stands for a token
		if rest == "" || isTemplate(rest) {
			return true
		}
	}
	if exampleKey.MatchString(v) || isTemplate(v) {
		return true
	}
	if len(v) > 6 && strings.EqualFold(v[:4], "your") && strings.IndexByte(" _-", v[4]) >= 0 && saysName(v) { // a hint
		return true
	}
	if v[0] == '$' && v != "$" && strings.Trim(v[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "" && v[1] > '9' &&
		saysName(v[1:]) {
		return true // a shell variable
	}
	if v[0] == '_' && !HasDigit(v) && len(v) < 40 && strings.IndexFunc(v, notOfName) < 0 { // an identifier of a program
		return true
	}
	if v == "%s" || strings.HasSuffix(v, " %s") && saysName(v[:len(v)-3]) || strings.HasSuffix(v, "...") && len(v) < 12 {
		return true
	}
	return isVersion(v) || isPattern(v) || strings.Count(v, " ") >= 4 &&
		(strings.HasSuffix(v, ".") || strings.HasSuffix(v, "!")) && !HasDigit(v)
}

// exampleKey matches the keys in the documentation of AWS: the id of a key, and the key. No other service's keys
// end like that, and a password may.
var exampleKey = regexp.MustCompile(`^(?:AKIA[A-Z0-9]{9}EXAMPLE|[A-Za-z0-9/+]{30}EXAMPLEKEY)$`)

// isTemplate is true for what stands in the place of a value: ${TOKEN}, {{token}}, <REDACTED>. There is nothing
// before or behind the brackets, and a name within them: whoever writes a secret in brackets has still written it.
func isTemplate(v string) bool {
	for _, t := range [][2]string{{"${{", "}}"}, {"${", "}"}, {"#{", "}"}, {"{{{", "}}}"}, {"{{", "}}"}, {"<%=", "%>"},
		{"<", ">"}, {"%{", "}"}} {
		if len(v) >= len(t[0])+len(t[1]) && strings.HasPrefix(v, t[0]) && strings.HasSuffix(v, t[1]) &&
			saysName(v[len(t[0]):len(v)-len(t[1])]) {
			return true
		}
	}
	return false
}

// saysName is true for the words that say what belongs in a place: access_token, your API key, ENV['TOKEN'],
// secrets.token2. Each word looks like one that somebody has written, and there are few digits.
func saysName(v string) bool {
	if utf8.RuneCountInString(v) > 48 {
		return false
	}
	digits, letters := 0, 0
	for _, c := range v {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case unicode.IsLetter(c):
			letters++
		case !strings.ContainsRune(" _-.$:'\"[]()*", c):
			return false
		}
	}
	if digits > 4 || digits > 0 && letters == 0 {
		return false
	}
	return !slices.ContainsFunc(strings.FieldsFunc(v, func(c rune) bool {
		return !unicode.IsLetter(c) && (c < '0' || c > '9')
	}), func(word string) bool { return !isWordOfName(word) })
}

// isWordOfName is false for letters and digits that look random: with digits in several places, with many changes
// between small and capital letters, or with more consonants in a row than a word has.
func isWordOfName(word string) bool {
	if strings.Count(word, word[:1]) == len(word) {
		return true // XXXX
	}
	var changes, numbers, hard, small, single int
	before := ' '
	for _, c := range word {
		isDigit, isSmall := c >= '0' && c <= '9', unicode.IsLower(c)
		if isDigit && (before < '0' || before > '9') {
			numbers++
		}
		if unicode.IsLetter(c) && unicode.IsLetter(before) && isSmall != unicode.IsLower(before) {
			if changes++; !isSmall && small == 1 {
				single++
			}
		}
		if small++; !isSmall {
			small = 0
		}
		if hard++; c > unicode.MaxASCII || isDigit || strings.ContainsRune("aeiouyAEIOUY", c) {
			hard = 0
		}
		if before = c; hard > 5 {
			return false
		}
	}
	return len(word) <= 32 && numbers < 2 && single < 2 && changes <= len(word)/2 && entropy(word) <= 3.7
}

func notOfName(c rune) bool { return c > 0x7f || !isName(byte(c)) || c == '$' }

// patterns matches what regular expressions contain and other texts almost never do.
var patterns = regexp.MustCompile(`\[\^?[^\]\s]*[0-9A-Za-z]-[0-9A-Za-z][^\]]*\]|\[\^[^\]\s]+\][+*?{)]|` +
	`\\[dwsDWS](?:[+*?{)|\]]|$)|\(\?[:=!P<]|\(?\.[*+]\??(?:\)|$)`)

// isPattern is true for a regular expression: token=[0-9]+ only describes a token.
func isPattern(v string) bool { return strings.ContainsAny(v, `[\(.`) && patterns.MatchString(v) }

// isVersion is true for the version of a package, or a range of versions.
func isVersion(v string) bool {
	rest := strings.TrimLeft(v, "~^>=<v ")
	parts := strings.Split(rest, ".")
	if len(parts) < 3 || len(rest) == len(v) && len(parts) > 3 {
		return false
	}
	for _, p := range parts[:3] {
		if p, _, _ = strings.Cut(p, "-"); p == "" || len(p) > 4 || !IsDigits(p) {
			return false
		}
	}
	return len(v) < 24
}

// called matches a function call whose arguments are names.
var called = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*\([A-Za-z_.]*\)?$`)

// isCode is true for names and calls in programs. They look like values without quotes.
func isCode(v string) bool {
	switch v {
	case "None", "nil", "NULL", "undefined", "True", "False", "self", "this":
		return true
	}
	if name, index, ok := strings.Cut(strings.TrimRight(v, ")"), "["); ok && strings.HasSuffix(index, "]") &&
		IsDigits(index[:len(index)-1]) && !HasDigit(name) {
		return true // an element of a list
	}
	if strings.Contains(v, "?.") || called.MatchString(v) {
		return true
	}
	return !HasDigit(v) && strings.ContainsAny(v, "._(){}[]$*") && !strings.ContainsAny(v, "!@#%^+~")
}

// pairValue reads the name that ends at one index, and the value that begins at
// another.
func (r *Redactor) pairValue(s string, end, from int, plain bool) (match, bool) {
	if end > 0 && s[end-1] == ']' { // user[password]
		end--
	}
	start := end
	for start > 0 && end-start < 64 && isName(s[start-1]) {
		start--
	}
	if start == end {
		return match{}, false
	}
	name := last(s[start:end])
	kind := r.keyKind(name)
	if kind == "" && (!mayAnnounce(name) || likelyKinds[flatName(name)] == "") {
		return match{}, false
	}
	if start > 0 && from < len(s) && s[from] == s[start-1] && (s[from] == '"' || s[from] == '\'') && end+1 == from {
		return match{}, false // the text "name=" is all there is
	}
	for from < len(s) && s[from] == ' ' {
		from++
	}
	if from < len(s) && s[from] == '\\' {
		from++
	}
	stop := "& \t\r\n\"'<>;,\\"
	if from < len(s) && (s[from] == '"' || s[from] == '\'') {
		from++
		stop = "\"'\\\n"
	}
	to := from
	for to < len(s) && strings.IndexByte(stop, s[to]) < 0 {
		to++
	}
	if kind == "" {
		kind = likelyKind(name, s[from:to])
	}
	if kind == "" || to-from < 4 || !plain && to-from < 12 {
		return match{}, false
	}
	return match{from: from, to: to, kind: kind}, true
}

// element reads <name …>value<. i is the index of the >.
func (r *Redactor) element(s string, i int) (match, bool) {
	if i == 0 || i+5 >= len(s) || s[i-1] == '/' {
		return match{}, false
	}
	open := strings.LastIndexByte(s[max(0, i-256):i], '<')
	if open < 0 || i+1 >= len(s) || s[i+1] == '<' && !strings.HasPrefix(s[i+1:], "<![CDATA[") {
		return match{}, false
	}
	name := s[max(0, i-256)+open+1 : i]
	name, _, _ = strings.Cut(name, " ")
	name = name[strings.LastIndexByte(name, ':')+1:]
	if name == "" || !isName(name[0]) {
		return match{}, false
	}
	kind := r.keyKind(last(name))
	if kind == "" {
		return match{}, false
	}
	from := i + 1
	to := strings.IndexByte(s[from:], '<')
	if to < 0 {
		return match{}, false
	}
	to += from
	if rest, ok := strings.CutPrefix(s[to:], "<![CDATA["); ok {
		from = to + len("<![CDATA[")
		rest = rest[:min(len(rest), 2*longValue)] // many openings must not cost one search each
		r.effort.add(len(rest))
		if to = strings.Index(rest, "]]>"); to < 0 {
			return match{}, false
		}
		to += from
	}
	for from < to && strings.IndexByte(" \t\r\n", s[from]) >= 0 {
		from++
	}
	for to > from && strings.IndexByte(" \t\r\n", s[to-1]) >= 0 {
		to--
	}
	if rest := strings.TrimLeft(s[to:], " \t\r\n"); to-from < 4 || !strings.HasPrefix(rest, "</") &&
		!strings.HasPrefix(rest, "]]>") {
		return match{}, false
	}
	return match{from: from, to: to, kind: kind}, true
}

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' ||
		c == '.' || c == '$'
}

// protocolHeader is the header in which a browser sends a token for a WebSocket,
// because it cannot send any other: bearer.X, or two values, authorization and X.
const protocolHeader = "Sec-Websocket-Protocol"

// protocolSecrets yields the positions of tokens in a value of that header.
func protocolSecrets(name, v string) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		announced := false
		for at := 0; name == protocolHeader && at < len(v); {
			one, _, _ := strings.Cut(v[at:], ",")
			word := strings.TrimSpace(one)
			from := at + strings.Index(one, word)
			at += len(one) + 1
			if tokenRE.MatchString(word) {
				announced = false
				continue
			}
			dot := strings.LastIndexAny(word, ".~:|=") + 1
			if dash := strings.IndexByte(word, '-') + 1; dot == 0 && dash > 0 && keyKind(word[:dash-1]) != "" {
				dot = dash
			}
			// The dot may be one of a JWT's own.
			for dot > 0 && keyKind(last(word[:dot-1])) == "" {
				dot = strings.LastIndexAny(word[:dot-1], ".~:|=") + 1
			}
			tells := keyKind(last(word)) != ""
			if announced || dot > 0 {
				if !yield(from+dot, from+len(word)) {
					return
				}
			}
			announced = tells
		}
	}
}

// protocols redacts a value of that header.
func (r *Redactor) protocols(v string) string {
	var b strings.Builder
	at := 0
	for from, to := range protocolSecrets(protocolHeader, v) {
		b.WriteString(r.Text(v[at:from]))
		b.WriteString(r.whole("token", v[from:to]))
		at = to
	}
	b.WriteString(r.Text(v[at:]))
	return b.String()
}

// keyKinds are the names of members, parameters, form fields and headers whose values
// are secret, in lower case and without punctuation.
var keyKinds = map[string]string{
	"password": "password", "passwd": "password", "pwd": "password", "passphrase": "password",
	"passcode": "password", "pin": "password", "otp": "password", "totp": "password",
	"passwort": "password", "kennwort": "password", "motdepasse": "password", "contrasena": "password",
	"contrasea": "password", "senha": "password", "wachtwoord": "password", "haslo": "password",
	"lsenord": "password", "losenord": "password", "otpcode": "password", "onetimecode": "password",
	"mnemonic": "secret", "seedphrase": "secret", "recoveryphrase": "secret", "recoverycode": "secret",
	"recoverycodes": "secret", "backupcode": "secret", "backupcodes": "secret", "secretkey": "key",
	"activationkey": "key", "authorizationcode": "token", "securitycode": "card", "cardsecuritycode": "card",
	"secret": "secret", "token": "token", "apikey": "key", "apisecret": "secret", "appkey": "key",
	"applicationkey": "key", "auth": "token", "authorization": "token", "xauth": "token",
	"credential": "secret", "credentials": "secret", "sig": "signature", "signature": "signature", "jwt": "jwt",
	"assertion": "token", "clientassertion": "token", "codeverifier": "secret",
	"bearer": "token", "accesskey": "key", "accesskeyid": "key", "privatekey": "key", "writekey": "key",
	"servicekey": "key", "licensekey": "key", "authkey": "key", "sharedkey": "key", "encryptionkey": "key",
	"signingkey": "key", "subscriptionkey": "key", "functionskey": "key",
	"sessionid": "session", "sessionkey": "session", "sid": "session", "phpsessid": "session",
	"jsessionid": "session", "connectsid": "session",
	"cardnumber": "card", "ccnumber": "card", "creditcard": "card", "creditcardnumber": "card", "cvv": "card",
	"cvc": "card", "cvv2": "card", "cardcvc": "card", "ssn": "ssn", "socialsecuritynumber": "ssn", "iban": "iban",
	"accountnumber": "iban", "accountkey": "key",
	"email": "email", "emailaddress": "email", "useremail": "email",
	"phone": "phone", "phonenumber": "phone", "phoneno": "phone", "mobile": "phone", "mobilephone": "phone",
	"mobilenumber": "phone", "tel": "phone", "telephone": "phone", "telephonenumber": "phone", "cell": "phone",
	"cellphone": "phone", "msisdn": "phone", "whatsapp": "phone", "fax": "phone", "contactnumber": "phone",
	"sha256email": "hashed", "sha256emailaddress": "hashed", "hashedemail": "hashed", "emailsha256": "hashed",
	"sha256phonenumber": "hashed", "hashedphone": "hashed", "phonesha256": "hashed", "em": "hashed", "ph": "hashed",
}

// keySuffixes are endings that make a name announce a secret.
var keySuffixes = []struct{ suffix, kind string }{
	{"password", "password"}, {"passwd", "password"}, {"passphrase", "password"}, {"secret", "secret"}, {"token",
		"token"}, {"apikey", "key"}, {"accesskey", "key"}, {"secretkey", "key"}, {"privatekey", "key"}, {"writekey",
		"key"}, {"authkey", "key"}, {"applicationkey", "key"}, {"signingkey", "key"}, {"encryptionkey", "key"},
	{"subscriptionkey", "key"},
	{"signature", "signature"}, {"credentials", "secret"}, {"phonenumber", "phone"}, {"phone", "phone"},
	{"accesskeyid", "key"},
}

// notSecret are names that end like that of a secret, but have values that are none: a
// program gets them in one answer and sends them in its next request.
var notSecret = map[string]bool{
	"nexttoken": true, "nextpagetoken": true, "pagetoken": true, "continuationtoken": true,
	"nextcontinuationtoken": true, "synctoken": true, "nextsynctoken": true, "paginationtoken": true,
	"cursortoken": true, "idempotencytoken": true, "clientrequesttoken": true, "prevpagetoken": true,
	"iphone": true, "microphone": true, "headphone": true, "saxophone": true, "megaphone": true, "earphone": true,
	"smartphone": true,
}

// likelyKinds are names that announce a secret only if the value looks like one,
// because they often mean something else.
var likelyKinds = map[string]string{
	"pass": "password", "pw": "password", "userpass": "password", "dbpass": "password", "session": "session",
	"csrf": "token", "xsrf": "token", "masterkey": "key", "consumerkey": "key", "secretkeybase": "key",
	"hmac": "signature", "hmackey": "key", "primarykey": "key", "secondarykey": "key", "storagekey": "key",
	"authcode": "token", "access": "token", "refresh": "token", "sas": "signature", "verificationcode": "password",
	"ticket": "token",
}

// likelyKind is the kind of secret that such a name announces together with its value,
// or "".
func likelyKind(name, value string) string {
	if len(name) > 32 {
		return ""
	}
	kind := likelyKinds[flatName(name)]
	if kind == "" || !learnable(value) || !HasDigit(value) || len(value) > 1<<10 || strings.ContainsAny(value, " \t\n") ||
		IsUUID(value) || kind != "password" && !mixed(value) {
		return ""
	}
	return kind
}

// mixed is true for a value that looks random and not like a name with a number: it has
// both small and capital letters, or it is long.
func mixed(v string) bool {
	return len(v) >= 24 || strings.ToLower(v) != v && strings.ToUpper(v) != v
}

// nameKinds are names of members that hold names of people. They are redacted only on
// request.
var nameKinds = map[string]bool{
	"firstname": true, "lastname": true, "fullname": true, "middlename": true, "givenname": true, "familyname": true,
	"surname": true, "maidenname": true, "displayname": true, "cardholder": true, "cardholdername": true,
	"customername": true, "contactname": true, "recipient": true, "recipientname": true,
}

// keyKind returns the kind of secret that a name announces, or "".
func (r *Redactor) keyKind(name string) string {
	if !mayAnnounce(name) {
		return ""
	}
	kind := keyKind(name)
	if kind == "" && r.names && nameKinds[flatName(name)] {
		return "name"
	}
	return kind
}

// KindOfName returns the kind of secret, such as token or email, that the name of a
// member, parameter or field announces. It is "" if the name announces none.
func KindOfName(name string) string { return keyKind(last(name)) }

// flatName is a name in lower case and without punctuation. It is "" if the text is too
// long to be a name.
func flatName(name string) string {
	if len(name) > 64 {
		return ""
	}
	var buf [64]byte
	n := 0
	for i := range len(name) {
		if c := fold(name[i]); c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			buf[n] = c
			n++
		}
	}
	return string(buf[:n])
}

// nameEnds are the last three characters, or fewer, of all names that announce a
// secret, in lower case and without punctuation. They are enough to rule out most names
// quickly.
var nameEnds = func() (ends [1 << 15]bool) {
	mark := func(name string) {
		n := len(name)
		ends[nameEnd(0, name[n-2], name[n-1])] = true // for names of which only two characters are known
		if n > 2 {
			ends[nameEnd(name[n-3], name[n-2], name[n-1])] = true
			return
		}
		for c := range 128 {
			ends[nameEnd(byte(c), name[n-2], name[n-1])] = true
		}
	}
	for name := range keyKinds {
		mark(name)
	}
	for name := range nameKinds {
		mark(name)
	}
	for name := range likelyKinds {
		// Texts are full of class= and version=, so names with these endings announce
		// nothing there.
		if !slices.Contains([]string{"ass", "ion", "ess", "ode", "ase"}, name[max(0, len(name)-3):]) {
			mark(name)
		}
	}
	for _, s := range keySuffixes {
		mark(s.suffix)
	}
	mark("value") // an attribute beside it may announce a secret
	mark("content")
	return ends
}()

// nameEnd is the index for three letters or digits. The first may be 0.
func nameEnd(a, b, c byte) int { return int(a&31)<<10 | int(b&31)<<5 | int(c&31) }

// mayAnnounce is a quick check, by the end of a name, whether it can announce a secret.
func mayAnnounce(name string) bool {
	var got [3]byte
	n := 0
	for i := len(name) - 1; i >= 0 && n < 3; i-- {
		if c := folded[name[i]]; c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			n++
			got[3-n] = c
		}
	}
	return n > 1 && nameEnds[nameEnd(got[0], got[1], got[2])]
}

func keyKind(name string) string {
	if !mayAnnounce(name) {
		return ""
	}
	flat := flatName(name)
	if kind, ok := keyKinds[flat]; ok {
		return kind
	}
	for _, s := range keySuffixes {
		if len(flat) > len(s.suffix) && strings.HasSuffix(flat, s.suffix) {
			if notSecret[flat] {
				return ""
			}
			return s.kind
		}
	}
	return ""
}

// personal is true for kinds of personal data, as opposed to credentials.
func personal(kind string) bool {
	switch kind {
	case "email", "phone", "hashed", "card", "iban", "ip", "name", "ssn":
		return true
	}
	return false
}

// vendorHeaders hold credentials, although their names do not say so.
var vendorHeaders = func() map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(headersText) {
		if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
			names[http.CanonicalHeaderKey(name)] = true
		}
	}
	return names
}()

//go:embed headers.txt
var headersText string

// secretHeader returns the kind of secret that a header holds, or "".
func secretHeader(name string) string {
	switch name {
	case "Authorization", "Proxy-Authorization", "X-Authorization", "X-Forwarded-Authorization":
		return "authorization"
	case "Cookie", "Set-Cookie", "Cookie2", "Set-Cookie2":
		return "cookie"
	case "Www-Authenticate", "X-Amz-Content-Sha256", "Proxy-Authenticate":
		return ""
	}
	if vendorHeaders[name] {
		return "key"
	}
	if kind := keyKind(name); kind != "" {
		return kind
	}
	if strings.HasPrefix(name, "X-") && (strings.HasSuffix(name, "-Key") || strings.HasSuffix(name, "-Auth")) &&
		!strings.Contains(name, "Idempotency") {
		return "key"
	}
	return ""
}
