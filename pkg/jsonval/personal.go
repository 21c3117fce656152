package jsonval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"golang.org/x/text/language"
)

// AppendLower appends a text in lower case.
func AppendLower(dst, text []byte) []byte {
	at := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[at:] {
		if c >= utf8.RuneSelf {
			return append(dst[:at], bytes.ToLower(text)...)
		}
		if c >= 'A' && c <= 'Z' {
			dst[at+i] = c + 'a' - 'A'
		}
	}
	return dst
}

// AppendNormal appends personal data as ad platforms want it before hashing,
// as one of the kinds of mapping.Normalize, or nothing when the text has nothing of
// the kind in it. country is the two-letter code that phone numbers without a
// country code belong to; "" for unknown. An empty kind appends the text as it
// is.
func AppendNormal(dst []byte, as string, text []byte, country string) []byte {
	if as == "" {
		return append(dst, text...)
	}
	text = TrimText(text)
	if len(text) == 0 {
		return dst
	}
	switch as {
	case "email":
		return AppendLower(dst, text)
	case "email_dotless":
		text = bytes.ToLower(text)
		user, domain, ok := bytes.Cut(text, []byte("@"))
		if ok && (string(domain) == "gmail.com" || string(domain) == "googlemail.com") {
			dst = append(dst, bytes.ReplaceAll(user, []byte("."), nil)...)
			return append(append(dst, '@'), domain...)
		}
		return append(dst, text...)
	case "phone":
		if digits := phoneDigits(string(text), country); digits != "" {
			dst = append(append(dst, '+'), digits...)
		}
		return dst
	case "phone_digits":
		return append(dst, phoneDigits(string(text), country)...)
	case "name":
		return appendName(dst, text)
	case "city":
		return appendLetters(dst, text)
	case "state":
		name := string(appendLetters(nil, text))
		if code, ok := stateCode(name); ok {
			name = code
		}
		return append(dst, name...)
	case "zip":
		return appendZip(dst, text)
	case "country":
		return append(dst, countryCode(string(text))...)
	case "gender":
		switch strings.ToLower(string(text)) {
		case "m", "male", "man", "boy":
			return append(dst, 'm')
		case "f", "female", "woman", "girl":
			return append(dst, 'f')
		}
		return dst
	case "birthdate":
		return appendBirthdate(dst, text)
	}
	return AppendLower(dst, text)
}

// appendName appends a name in lower case, without punctuation and with single
// spaces.
func appendName(dst, text []byte) []byte {
	start, gap := len(dst), false
	for _, c := range string(text) {
		switch {
		case unicode.IsLetter(c), unicode.IsMark(c), unicode.IsDigit(c):
			if gap && len(dst) > start {
				dst = append(dst, ' ')
			}
			gap = false
			dst = utf8.AppendRune(dst, unicode.ToLower(c))
		case IsSpace(c):
			gap = true
		}
	}
	return dst
}

// appendLetters appends only the letters and digits, in lower case.
func appendLetters(dst, text []byte) []byte {
	for _, c := range string(text) {
		if unicode.IsLetter(c) || unicode.IsMark(c) || unicode.IsDigit(c) {
			dst = utf8.AppendRune(dst, unicode.ToLower(c))
		}
	}
	return dst
}

// appendZip appends a postal code in lower case without spaces and dashes; of
// a US code with its four further digits only the first five.
func appendZip(dst, text []byte) []byte {
	if len(text) == 10 && text[5] == '-' && allDigits(text[:5]) && allDigits(text[6:]) {
		return append(dst, text[:5]...)
	}
	return appendLetters(dst, text)
}

func allDigits[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0
}

// appendBirthdate appends a date as YYYYMMDD. Eight digits are taken for that
// already, and month/day/year is read as in the United States.
func appendBirthdate(dst, text []byte) []byte {
	valid := func(y, m, d int) bool {
		return y >= 1800 && y <= 9999 && m >= 1 && m <= 12 && d >= 1 && d <= daysIn(y, m)
	}
	s := string(text)
	if len(s) == 8 && allDigits(s) && valid(number(s[:4]), number(s[4:6]), number(s[6:])) {
		return append(dst, s...)
	}
	if p := strings.FieldsFunc(s, func(c rune) bool { return c == '/' || c == '-' || c == '.' }); len(p) == 3 &&
		allDigits(p[0]) && allDigits(p[1]) && allDigits(p[2]) && len(s) <= 10 {
		y, m, d := number(p[2]), number(p[0]), number(p[1])
		if len(p[0]) == 4 {
			y, m, d = number(p[0]), number(p[1]), number(p[2])
		} else if strings.Contains(s, ".") {
			m, d = d, m // with dots it is day.month.year
		}
		if !valid(y, m, d) {
			return dst
		}
		return append(dst, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10),
			byte('0'+m/10), byte('0'+m%10), byte('0'+d/10), byte('0'+d%10))
	}
	if t, ok := event.ParseTimeText(text); ok && t.Year() >= 1800 && t.Year() <= 9999 {
		return t.AppendFormat(dst, "20060102")
	}
	return dst
}

// countryCode returns the two-letter code of a country in lower case. What it
// does not know comes back in lower case.
func countryCode(s string) string {
	s = strings.ToLower(s)
	if len(s) == 2 {
		if s == "uk" {
			return "gb"
		}
		return s
	}
	name := string(appendLetters(nil, []byte(s)))
	if code, ok := countryNames(name); ok {
		return code
	}
	if len(name) == 3 && !allDigits(name) {
		if r, err := language.ParseRegion(name); err == nil && len(r.String()) == 2 {
			return strings.ToLower(r.String())
		}
	}
	return name
}

func countryNames(name string) (string, bool) {
	switch name {
	case "unitedstates", "unitedstatesofamerica", "theunitedstates", "america":
		return "us", true
	case "unitedkingdom", "greatbritain", "britain", "england", "scotland", "wales", "northernireland":
		return "gb", true
	}
	code, ok := countries[name]
	return code, ok
}

// countries are codes by name, as appendLetters leaves it. Never changed.
var countries = map[string]string{
	"argentina": "ar", "australia": "au", "austria": "at", "österreich": "at", "bangladesh": "bd", "belgium": "be",
	"brazil": "br", "brasil": "br",
	"bulgaria": "bg", "canada": "ca", "chile": "cl", "china": "cn", "colombia": "co", "costarica": "cr",
	"croatia": "hr", "cyprus": "cy",
	"czechia": "cz", "czechrepublic": "cz", "denmark": "dk", "dominicanrepublic": "do", "ecuador": "ec", "egypt": "eg",
	"estonia": "ee",
	"finland": "fi", "france": "fr", "germany": "de", "deutschland": "de", "ghana": "gh", "greece": "gr",
	"guatemala": "gt", "hongkong": "hk",
	"hungary": "hu", "iceland": "is", "india": "in", "indonesia": "id", "iran": "ir", "iraq": "iq", "ireland": "ie",
	"israel": "il", "italy": "it",
	"italia": "it", "jamaica": "jm", "japan": "jp", "jordan": "jo", "kazakhstan": "kz", "kenya": "ke", "kuwait": "kw",
	"latvia":  "lv",
	"lebanon": "lb", "lithuania": "lt", "luxembourg": "lu", "malaysia": "my", "malta": "mt", "mexico": "mx",
	"méxico": "mx", "morocco": "ma",
	"netherlands": "nl", "thenetherlands": "nl", "holland": "nl", "newzealand": "nz", "nigeria": "ng", "norway": "no",
	"oman":     "om",
	"pakistan": "pk", "panama": "pa", "peru": "pe", "philippines": "ph", "poland": "pl", "polska": "pl",
	"portugal": "pt", "puertorico": "pr",
	"qatar": "qa", "romania": "ro", "russia": "ru", "russianfederation": "ru", "saudiarabia": "sa", "serbia": "rs",
	"singapore": "sg",
	"slovakia":  "sk", "slovenia": "si", "southafrica": "za", "southkorea": "kr", "korea": "kr",
	"republicofkorea": "kr",
	"spain":           "es",
	"españa":          "es", "srilanka": "lk", "sweden": "se", "switzerland": "ch", "schweiz": "ch", "taiwan": "tw",
	"thailand": "th", "tunisia": "tn",
	"turkey": "tr", "türkiye": "tr", "ukraine": "ua", "unitedarabemirates": "ae", "uruguay": "uy", "venezuela": "ve",
	"vietnam": "vn",
}

// stateCode returns the postal code of a US state or Canadian province.
func stateCode(name string) (string, bool) {
	code, ok := states[name]
	return code, ok
}

// states are postal codes by name, as appendLetters leaves it. Never changed.
var states = map[string]string{
	"alabama": "al", "alaska": "ak", "arizona": "az", "arkansas": "ar", "california": "ca", "colorado": "co",
	"connecticut": "ct", "delaware": "de",
	"districtofcolumbia": "dc", "washingtondc": "dc", "florida": "fl", "georgia": "ga", "hawaii": "hi", "idaho": "id",
	"illinois": "il", "indiana": "in",
	"iowa": "ia", "kansas": "ks", "kentucky": "ky", "louisiana": "la", "maine": "me", "maryland": "md",
	"massachusetts": "ma", "michigan": "mi",
	"minnesota": "mn", "mississippi": "ms", "missouri": "mo", "montana": "mt", "nebraska": "ne", "nevada": "nv",
	"newhampshire": "nh", "newjersey": "nj",
	"newmexico": "nm", "newyork": "ny", "northcarolina": "nc", "northdakota": "nd", "ohio": "oh", "oklahoma": "ok",
	"oregon": "or", "pennsylvania": "pa",
	"puertorico": "pr", "rhodeisland": "ri", "southcarolina": "sc", "southdakota": "sd", "tennessee": "tn",
	"texas": "tx", "utah": "ut", "vermont": "vt",
	"virginia": "va", "washington": "wa", "westvirginia": "wv", "wisconsin": "wi", "wyoming": "wy",
	"alberta": "ab", "britishcolumbia": "bc", "manitoba": "mb", "newbrunswick": "nb", "newfoundlandandlabrador": "nl",
	"novascotia": "ns", "ontario": "on",
	"princeedwardisland": "pe", "quebec": "qc", "québec": "qc", "saskatchewan": "sk",
}

// phoneDigits returns the digits of a phone number in international form, or
// "" when there is no number in it that could be called.
func phoneDigits(s, country string) string {
	// An extension is not part of the number.
	if i := strings.IndexAny(s, "xX;,#"); i > 0 {
		s = s[:i]
	}
	if i := strings.Index(strings.ToLower(s), "ext"); i > 0 {
		s = s[:i]
	}
	s = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "tel:")
	international := strings.HasPrefix(s, "+")
	if international {
		s = strings.ReplaceAll(s, "(0)", "") // +44 (0)20: the trunk digit is for calls within the country
	}
	var b []byte
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			b = append(b, byte(c))
		case c >= 0xff10 && c <= 0xff19: // full-width digits
			b = append(b, byte(c-0xff10+'0'))
		}
	}
	d := string(b)
	if !international && strings.HasPrefix(d, "00") {
		d, international = d[2:], true
	}
	if !international {
		d = withCountry(d, strings.ToUpper(country))
	}
	// E.164 allows 15 digits; fewer than 7 are no full number anywhere.
	if len(d) < 7 || len(d) > 15 || d[0] == '0' {
		return ""
	}
	return d
}

// withCountry puts the calling code of a country before a national number,
// unless it is there already.
func withCountry(d, country string) string {
	if country == "UK" {
		country = "GB"
	}
	code := callingCode(country)
	if code == "" {
		return d // nothing is known: taken for international already
	}
	longest := 10 // digits of a national number without its trunk digit
	switch country {
	case "IS":
		longest = 7
	case "DK", "NO", "SG", "HK", "EE", "LV", "MT", "CY", "CR", "SV", "GT", "HN", "NI", "PA":
		longest = 8
	case "ES",
		"FR",
		"PT",
		"PL",
		"CZ",
		"SK",
		"CH",
		"BE",
		"NL",
		"IE",
		"AU",
		"ZA",
		"AE",
		"SA",
		"IL",
		"UA",
		"LU",
		"PE",
		"CL",
		"HU",
		"RO",
		"BG",
		"HR",
		"KE",
		"MA":
		longest = 9
	case "DE", "BR", "CN", "IT", "MY", "FI", "SE":
		longest = 11
	case "AT", "ID":
		longest = 12
	}
	if strings.HasPrefix(d, code) && len(d) > longest && len(d) > len(code)+6 {
		return d
	}
	switch country {
	case "IT", "SM", "VA", "ES", "DK", "NO", "PT", "PL", "CZ", "GR", "SG", "HK", "MT", "CY", "EE", "LV", "IS", "LU":
		return code + d // no trunk digit: a zero belongs to the number
	case "RU", "KZ":
		if len(d) == 11 && d[0] == '8' {
			d = d[1:]
		}
	case "HU":
		d = strings.TrimPrefix(d, "06")
	case "LT":
		if len(d) == 9 && (d[0] == '8' || d[0] == '0') {
			d = d[1:]
		}
	case "MX":
		d = strings.TrimPrefix(d, "01")
	default:
		if code == "1" {
			if len(d) == 11 && d[0] == '1' {
				d = d[1:]
			}
		} else {
			d = strings.TrimLeft(d, "0")
		}
	}
	return code + d
}

// callingCode returns the digits that lead to a country (ITU-T E.164).
func callingCode(country string) string {
	const codes = " AC247 AD376 AE971 AF93 AG1 AI1 AL355 AM374 AO244 AR54 AS1 AT43 AU61 AW297 AX358 AZ994 BA387 BB1 " +
		"BD880 BE32 BF226 BG359 BH973 BI257 BJ229 BL590 BM1 BN673 BO591 BQ599 BR55 BS1 BT975 BW267 BY375 BZ501 CA1 " +
		"CC61 CD243 CF236 CG242 CH41 CI225 CK682 CL56 CM237 CN86 CO57 CR506 CU53 CV238 CW599 CX61 CY357 CZ420 DE49 " +
		"DJ253 DK45 DM1 DO1 DZ213 EC593 EE372 EG20 EH212 ER291 ES34 ET251 FI358 FJ679 FK500 FM691 FO298 FR33 GA241 " +
		"GB44 GD1 GE995 GF594 GG44 GH233 GI350 GL299 GM220 GN224 GP590 GQ240 GR30 GT502 GU1 GW245 GY592 HK852 HN504 " +
		"HR385 HT509 HU36 ID62 IE353 IL972 IM44 IN91 IO246 IQ964 IR98 IS354 IT39 JE44 JM1 JO962 JP81 KE254 KG996 " +
		"KH855 KI686 KM269 KN1 KP850 KR82 KW965 KY1 KZ7 LA856 LB961 LC1 LI423 LK94 LR231 LS266 LT370 LU352 LV371 " +
		"LY218 MA212 MC377 MD373 ME382 MF590 MG261 MH692 MK389 ML223 MM95 MN976 MO853 MP1 MQ596 MR222 MS1 MT356 " +
		"MU230 MV960 MW265 MX52 MY60 MZ258 NA264 NC687 NE227 NF672 NG234 NI505 NL31 NO47 NP977 NR674 NU683 NZ64 " +
		"OM968 PA507 PE51 PF689 PG675 PH63 PK92 PL48 PM508 PR1 PS970 PT351 PW680 PY595 QA974 RE262 RO40 RS381 RU7 " +
		"RW250 SA966 SB677 SC248 SD249 SE46 SG65 SH290 SI386 SJ47 SK421 SL232 SM378 SN221 SO252 SR597 SS211 ST239 " +
		"SV503 SX1 SY963 SZ268 TC1 TD235 TG228 TH66 TJ992 TK690 TL670 TM993 TN216 TO676 TR90 TT1 TV688 TW886 TZ255 " +
		"UA380 UG256 US1 UY598 UZ998 VA39 VC1 VE58 VG1 VI1 VN84 VU678 WF681 WS685 XK383 YE967 YT262 ZA27 ZM260 ZW263 "
	if len(country) != 2 {
		return ""
	}
	i := strings.Index(codes, " "+country)
	if i < 0 {
		return ""
	}
	code, _, _ := strings.Cut(codes[i+3:], " ")
	return code
}

var normalForms = []string{"email", "email_dotless", "phone", "phone_digits", "name",
	"city", "state", "zip", "country", "gender", "birthdate", "text"}

// IsHashed reports whether text is a SHA-256 in hex already.
func IsHashed(text []byte) bool {
	if len(text) != 2*sha256.Size {
		return false
	}
	for _, c := range text {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// AppendHash appends the SHA-256 of text in hex as a JSON string.
func AppendHash(dst, text []byte) []byte {
	sum := sha256.Sum256(text)
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, sum[:])
	return append(dst, '"')
}

// NormalForms are the forms of [AppendNormal].
func NormalForms() []string { return slices.Clone(normalForms) }
