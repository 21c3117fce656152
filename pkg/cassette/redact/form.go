package redact

import (
	"net/url"
	"regexp"
	"strings"
)

// form redacts a urlencoded form. What needs no redaction keeps every byte. part is the
// name that rules use: query, body, or "".
func (r *Redactor) form(s, part string, depth int) string {
	if s == "" {
		return s
	}
	parts := strings.Split(s, "&")
	for n, p := range parts {
		name, value, ok := strings.Cut(p, "=")
		_, err1 := url.QueryUnescape(value)
		key, err2 := url.QueryUnescape(name)
		if err1 != nil || err2 != nil {
			parts[n] = r.text(p, depth+1)
			continue
		}
		name = r.formName(name, depth)
		if ok {
			name += "=" + r.formValue(part, key, value, depth)
		}
		parts[n] = name
	}
	return strings.Join(parts, "&")
}

// formName redacts a name of a form, which is JSON where a program has posted that as a form.
func (r *Redactor) formName(sent string, depth int) string {
	plain, err := url.QueryUnescape(addressPluses(sent))
	if err != nil {
		return sent
	}
	if now := r.text(plain, depth+1); now != plain {
		sent = url.QueryEscape(now)
	}
	return r.numbersOfPhones(sent)
}

// formValue redacts the value of a name in a form, as it was sent. A plus in it is a blank, but some programs send
// the plus of an address or of a key as it is, so it is read in both ways.
func (r *Redactor) formValue(part, name, sent string, depth int) string {
	plain, err := url.QueryUnescape(sent)
	if err != nil {
		return sent
	}
	if tagged := addressPluses(sent); tagged != sent {
		// A password is learned as its own program has sent it.
		if kind := r.kindOf(name, plain); kind == "" || kind == "email" {
			plain, _ = url.QueryUnescape(tagged) // as valid as what was sent
		}
	}
	value := sent
	if now := r.field(part, name, plain, depth+1); now != plain {
		value = url.QueryEscape(now)
	}
	value = r.numbersOfPhones(value)
	if !strings.Contains(value, "+") || value != sent && strings.Contains(value, "%2B") {
		return value
	}
	if raw, err := url.PathUnescape(value); err == nil {
		if now := r.field(part, name, raw, depth+1); now != raw {
			value = strings.ReplaceAll(url.QueryEscape(now), "%2B", "+")
		}
	}
	return value
}

// addressPluses escapes each plus of a form that can belong to the user of an email address. Where words come before
// an address, that takes the last of them with it, which is better than to leave half of an address.
func addressPluses(s string) string {
	if !strings.Contains(s, "+") {
		return s
	}
	var b strings.Builder
	done, least := 0, 0
	for at := 0; at < len(s); at++ {
		domain := at + 1
		switch {
		case s[at] == '@':
		case strings.HasPrefix(s[at:], "%40"):
			domain = at + 3
		default:
			continue
		}
		end := domain
		for end < len(s) && (IsAlnum(s[end]) || s[end] == '.' || s[end] == '-') {
			end++
		}
		if strings.IndexByte(s[domain:end], '.') <= 0 {
			continue
		}
		from := at
		for from > least && (IsAlnum(s[from-1]) || strings.IndexByte("._%+-", s[from-1]) >= 0) {
			from--
		}
		// Of an escape, the walk has also taken the digits: they are no plus, so that is no matter.
		b.WriteString(s[done:from])
		b.WriteString(strings.ReplaceAll(s[from:at], "+", "%2B"))
		done = at
		if least = end; end < len(s) && s[end] == '+' {
			least++ // the blank before the next address
		}
		at = end - 1
	}
	return b.String() + s[done:]
}

// nameOfJSON and endInJSON match what stands before and behind a value of an object of JSON, also in a form.
// plusInJSON matches all of it.
var (
	nameOfJSON = regexp.MustCompile(`(?i)(?:"|%22)([\w $.-]+)(?:"|%22)(?::|%3a)$`)
	endInJSON  = regexp.MustCompile(`(?i)^(?:[,}\]]|%2c|%7d|%5d)`)
	plusInJSON = regexp.MustCompile(`(?i)(?:"|%22)([\w $.-]+)(?:"|%22)(?::|%3a)\+([1-9][0-9]{8,14})(?:[,}\]]|%2c|%7d|%5d)`)
)

// notInJSON is false for a plus and digits that, in a form, are a blank and a number of JSON: "at":+1717236000123}.
// JSON has phone numbers in quotes, but not that of every program.
func notInJSON(text string, from, to int) bool {
	name := nameOfJSON.FindStringSubmatch(text[max(0, from-before):from])
	return name == nil || keyKind(name[1]) == "phone" || !endInJSON.MatchString(text[to:]) ||
		isPhoneBeside(name[1], digits(text[from:to]))
}

// numbersOfPhones replaces the phone numbers that are numbers of JSON in a form by numbers.
func (r *Redactor) numbersOfPhones(sent string) string {
	if r.quick || !strings.Contains(sent, "+") {
		return sent
	}
	var b strings.Builder
	at := 0
	for _, m := range plusInJSON.FindAllStringSubmatchIndex(sent, -1) {
		name, number := sent[m[2]:m[3]], sent[m[4]:m[5]]
		if IsToken(number) || r.allowed(number) || r.allowed("+"+number) || harmless("phone", "+"+number) ||
			keyKind(name) != "phone" && !isPhoneBeside(name, number) {
			continue
		}
		b.WriteString(sent[at:m[4]] + r.number(number))
		at = m[5]
	}
	return b.String() + sent[at:]
}

// isPhoneBeside is true for digits that look like a phone number with its country, beside a name that does not say
// that they are something else. Times, with ten digits or thirteen, begin with the 1 of North America, whose numbers
// have eleven (https://www.itu.int/rec/T-REC-E.164).
func isPhoneBeside(name, d string) bool {
	if counts[lastWord(name)] {
		return false
	}
	switch d[0] {
	case '1':
		return len(d) == 11 && d[1] > '1' && d[4] > '1'
	case '7':
		return len(d) == 11
	}
	return len(d) >= 10 && len(d) <= 14
}

// counts are the last words of names whose numbers are as long as a phone number.
var counts = map[string]bool{"id": true, "ids": true, "at": true, "ts": true, "time": true, "timestamp": true,
	"date": true, "amount": true, "price": true, "total": true, "micros": true, "cents": true, "count": true,
	"size": true, "bytes": true, "version": true}

// lastWord is the last word of a name in small letters: at of createdAt and created_at, but not of flat.
func lastWord(name string) string {
	small := strings.TrimRight(name, "abcdefghijklmnopqrstuvwxyz")
	rest := strings.TrimRight(small, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if len(small) < len(name) && len(rest) < len(small) { // only the capital that begins the word belongs to it
		rest = small[:len(small)-1]
	}
	return strings.ToLower(name[len(rest):])
}
