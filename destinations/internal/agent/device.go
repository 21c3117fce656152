// Package agent reads user agents, in the words that partners have for browsers and devices.
package agent

import (
	"regexp"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// Part is something that a user agent says, by a function that reads user agents ([Read], [ReadBrowser]) and one that
// takes the part of what it has read. It is missing where that is "".
func Part[T any](ua body.Value, read func(string) *T, of func(*T) string) body.Value {
	return ua.As("what it says of it", func(dst []byte, v event.Value, c *body.Context) []byte {
		if text := of(body.Recall(c, v, read)); text != "" {
			dst = event.AppendQuoted(dst, text)
		}
		return dst
	})
}

// Device is what a user agent says of the machine and the browser, in the words of
// https://github.com/amplitude/ua-parser-js. What it does not say is "".
type Device struct {
	OS, Browser, Major, Vendor, Model, Kind string
}

// marks are the marks that stand before a browser's version, in the order in
// which they are looked for. with has to be in the user agent too.
var marks = [...]struct{ mark, with, name string }{
	{"CriOS/", "", "Chrome"}, {"CrMo/", "", "Chrome"},
	{"Edg/", "", "Edge"}, {"Edge/", "", "Edge"}, {"EdgiOS/", "", "Edge"}, {"EdgA/", "", "Edge"},
	{"Opera Mini/", "", "Opera Mini"}, {"Version/", "Opera", "Opera"}, {"Opera/", "", "Opera"}, {"Opera ", "", "Opera"},
	{"OPiOS/", "", "Opera Mini"}, {"OPR/", "", "Opera"},
	{"Kindle/", "", "Kindle"}, {"IEMobile/", "", "IEMobile"}, {"MSIE ", "", "IE"},
	{"Silk/", "", "Silk"}, {"Vivaldi/", "", "Vivaldi"}, {"PhantomJS/", "", "PhantomJS"}, {"Puffin/", "", "Puffin"},
	{"Brave/", "", "Brave"},
	{"Whale/", "", "Whale"}, {"DuckDuckGo/", "", "DuckDuckGo"},
	{"UCBrowser/", "", "UCBrowser"}, {"MicroMessenger/", "", "WeChat"}, {"Konqueror/", "", "Konqueror"},
	{"rv:", "Trident", "IE"},
	{"YaBrowser/", "", "Yandex"}, {"Focus/", "", "Firefox Focus"}, {"OPT/", "", "Opera Touch"},
	{"MiuiBrowser/", "", "MIUI Browser"},
	{"FxiOS/", "", "Firefox"}, {"OculusBrowser/", "", "Oculus Browser"}, {"SamsungBrowser/", "", "Samsung Browser"},
	{"HuaweiBrowser/", "", "Huawei Browser"},
	{";FBAV/", "", "Facebook"}, {"Line/", "", "Line"}, {"Chromium/", "", "Chromium"}, {"Instagram ", "", "Instagram"},
	{"GSA/", "Safari/", "GSA"}, {"HeadlessChrome/", "", "Chrome Headless"}, {"Chrome/", "; wv)", "Chrome WebView"},
	{" Version/", "Android", "Android Browser"},
	{"Chrome/", "", "Chrome"}, {"Version/", "Mobile/", "Mobile Safari"}, {"Version/", "Safari", "Safari"},
}

// engines are looked for after the browsers, where Safari does not say its
// version.
var engines = [...]struct{ mark, with, name string }{
	{"WebKit/", "", "WebKit"}, {"Firefox/", "", "Firefox"}, {"rv:", "Gecko/", "Mozilla"},
}

// models tell who made an Android device by the name it goes by.
var models = [...]struct {
	re           *regexp.Regexp
	vendor, kind string
}{
	{regexp.MustCompile(`(?i)\b(sm-[ptx]\w{2,4}|gt-[pn]\d{2,4}|sch-i[89]0\d|nexus 10)`), "Samsung", "tablet"},
	{regexp.MustCompile(`(?i)\b((?:s[cgp]h|gt|sm)-\w+|galaxy nexus)`), "Samsung", "mobile"},
	{regexp.MustCompile(`(?i)^samsung[- ]([-\w]+)`), "Samsung", "mobile"},
	{regexp.MustCompile(`(?i)\b((?:ag[rs][23]?|bah2?|sht?|btv)-a?[lw]\d{2})\b`), "Huawei", "tablet"},
	{regexp.MustCompile(`(?i)(?:huawei|honor)([-\w ]+)$`), "Huawei", "mobile"},
	{regexp.MustCompile(`(?i)\b(nexus 6p|\w{2,4}e?-[atu]?[ln][\dx][012359c][adn]?)\b`), "Huawei", "mobile"},
	{regexp.MustCompile(`(?i)\b(poco[\w ]+|redmi[-_ ]?(?:note|k)?[\w_ ]+)$`), "Xiaomi", "mobile"},
	{regexp.MustCompile(`(?i)\b(mi[-_ ]?(?:a\d|one|one[_ ]plus|note lte|max|cc)?[_ ]?(?:\d?\w?)[_ ]?(?:plus|se|lite)?)$`),
		"Xiaomi", "mobile"},
	{regexp.MustCompile(`(?i)\b(mi[-_ ]?pad[\w_ ]+)$`), "Xiaomi", "tablet"},
	{regexp.MustCompile(`(?i)\b(cph[12]\d{3}|p(?:af|c[al]|d\w|e[ar])[mt]\d0|x9007|a101op)\b`), "OPPO", "mobile"},
	{regexp.MustCompile(`(?i)vivo (\w+)$`), "Vivo", "mobile"},
	{regexp.MustCompile(`(?i)\b(rmx[12]\d{3})$`), "Realme", "mobile"},
	{regexp.MustCompile(`(?i)\bmot(?:orola)?[- ](\w*)`), "Motorola", "mobile"},
	{regexp.MustCompile(`(?i)(moto[\w() ]+|xt\d{3,4}|nexus 6)$`), "Motorola", "mobile"},
	{regexp.MustCompile(`(?i)(lm-?f100[nv]?|lm-[\w.]+|nexus [45])`), "LG", "mobile"},
	{regexp.MustCompile(`(?i)\blg[-e;/ ]+(\w+)`), "LG", "mobile"},
	{regexp.MustCompile(`(?i)lenovo ?(s[56]000[-\w]+|tab[\w ]+|yt[-\d\w]{6}|tb[-\d\w]{6})`), "Lenovo", "tablet"},
	{regexp.MustCompile(`(?i)nokia[-_ ]?([-\w.]*)`), "Nokia", "mobile"},
	{regexp.MustCompile(`(?i)(pixel c)\b`), "Google", "tablet"},
	{regexp.MustCompile(`(?i)^(pixel[\daxl ]{0,6})$`), "Google", "mobile"},
	{regexp.MustCompile(`(?i)^(a?\d[0-2]{2}so|[c-g]\d{4}|so[-gl]\w+|xq-a\w[4-7][12])$`), "Sony", "mobile"},
	{regexp.MustCompile(`(?i)^(?:kb2005|in20[12]5|be20[12][59])\b`), "OnePlus", "mobile"},
	{regexp.MustCompile(`(?i)(?:one)?(?:plus)? (a\d0\d\d)$`), "OnePlus", "mobile"},
	{regexp.MustCompile(`(?i)(kf[a-z]{2}wi)$`), "Amazon", "tablet"},
	{regexp.MustCompile(`(?i)( z[bes]6[027][012][km][ls]|zenfone \d\w?)\b`), "ASUS", "mobile"},
	{regexp.MustCompile(`(?i)(nexus 7|padfone|p00[cj])`), "ASUS", "tablet"},
	{regexp.MustCompile(`(?i)(nexus 9)`), "HTC", "tablet"},
	{regexp.MustCompile(`(?i)htc[-;_ ]{1,2}([\w ]+)$`), "HTC", "mobile"},
	{regexp.MustCompile(`(?i)zte[- ]([\w ]+)$`), "ZTE", "mobile"},
}

// Read reads a user agent.
func Read(ua string) *Device {
	d := &Device{OS: system(ua)}
	d.Browser, d.Major = browserAndMajor(ua)
	has := func(s string) bool { return strings.Contains(ua, s) }
	switch {
	case has("Android") && !has("Windows Phone"):
		d.android(ua)
	case has("iPhone") || has("iPod") || has("iPad"):
		d.Vendor, d.Kind = "Apple", "mobile"
		if d.Model = numbered(ua); d.Model == "" {
			d.Model = between(ua, "(", ";")
		}
		if strings.HasPrefix(d.Model, "iPad") {
			d.Kind = "tablet"
		} else if !strings.HasPrefix(d.Model, "iP") {
			d.Vendor, d.Model = "", ""
		}
	case has("Macintosh;"):
		d.Vendor, d.Model = "Apple", "Macintosh"
	case has("Lumia"):
		d.Vendor, d.Kind, d.Model = "Microsoft", "mobile", strings.TrimSpace("Lumia"+word(ua, "Lumia", " "))
		if has("NOKIA") {
			d.Vendor = "Nokia"
		}
	case has("PlayStation "):
		d.Vendor, d.Kind, d.Model = "Sony", "console", "PlayStation "+word(ua, "PlayStation ", "")
	case has("Xbox One"):
		d.Vendor, d.Kind, d.Model = "Microsoft", "console", "Xbox One"
	case has("Xbox"):
		d.Vendor, d.Kind, d.Model = "Microsoft", "console", "Xbox"
	case has("SMART-TV") || has("SmartTV") || has("Smart TV"):
		d.Kind = "smarttv"
		if has("SMART-TV") && has("SAMSUNG") {
			d.Vendor = "SAMSUNG"
		}
	case has("Tablet;"):
		d.Kind = "tablet"
	case has("Mobile;") || has("Mobile/") || has("Mobile Safari") || has("Phone"):
		d.Kind = "mobile"
	}
	return d
}

// android reads the model, which is the last thing before the build or the
// engine.
func (d *Device) android(ua string) {
	rest := ua[strings.Index(ua, "Android")+len("Android"):]
	name, engine, named := strings.Cut(rest, ") AppleWeb")
	if i := strings.Index(rest, " Build"); i >= 0 && i < len(name) {
		name, named = rest[:i], true
	} else if !named {
		name, _, _ = strings.Cut(rest, ")")
	}
	if i := strings.LastIndex(name, ";"); i >= 0 {
		name = strings.TrimSpace(name[i+1:])
	} else {
		name = ""
	}
	for i := range models {
		m := &models[i]
		if found := m.re.FindStringSubmatch(name); found != nil {
			d.Vendor, d.Kind, d.Model = m.vendor, m.kind, found[len(found)-1]
			return
		}
	}
	switch {
	case named && name != "" && strings.Contains(engine, "Safari"):
		d.Model, d.Kind = name, "tablet"
		if strings.Contains(engine, " Mobile Safari") {
			d.Kind = "mobile"
		}
	case strings.Contains(rest, "Tablet;"):
		d.Kind = "tablet"
	case strings.Contains(rest, "Mobile;") || strings.Contains(rest, "Mobile/"):
		d.Kind = "mobile"
	case named:
		d.Vendor, d.Model = "Generic", "Android"+between(rest, "", ";")
	}
}

// system names the operating system.
func system(ua string) string {
	has := func(s string) bool { return strings.Contains(ua, s) }
	switch {
	case has("Windows Phone OS"):
		return "Windows Phone OS"
	case has("Windows Phone"):
		return "Windows Phone"
	case has("Windows Mobile"):
		return "Windows Mobile"
	case has("Windows") && !has("Xbox"):
		return "Windows"
	case (has("iPhone") || has("iPad") || has("iPod")) && has(" like Mac"), has("CFNetwork/") && has("Darwin"):
		return "iOS"
	case has("Mac OS X") || has("Macintosh") || has("Mac_PowerPC"):
		return "Mac OS"
	case has("Firefox") && has("(Mobile; rv:"):
		return "Firefox OS"
	case has("CrOS"):
		return "Chromium OS"
	case has("Web0S"):
		return "webOS"
	case has("CrKey"):
		return "Chromecast"
	}
	for _, name := range [...]string{"Android", "webOS", "Tizen", "KAIOS", "BlackBerry", "Nintendo", "PlayStation",
		"Xbox", "Kubuntu", "Ubuntu", "Debian", "SUSE", "Fedora", "Linux", "FreeBSD", "OpenBSD", "NetBSD"} {
		if has(name) {
			return name
		}
	}
	return ""
}

// browserAndMajor names the browser and the first number of its version.
func browserAndMajor(ua string) (name, major string) {
	for i := range marks {
		b := &marks[i]
		if (b.with == "" || strings.Contains(ua, b.with)) && strings.Contains(ua, b.mark) {
			if v := version(ua, b.mark); v != "" {
				return b.name, v
			}
		}
	}
	if strings.Contains(ua, "WebKit") && strings.Contains(ua, "Safari/") {
		return "Safari", ""
	}
	for i := range engines {
		e := &engines[i]
		if e.with == "" || strings.Contains(ua, e.with) {
			if v := version(ua, e.mark); v != "" {
				return e.name, v
			}
		}
	}
	return "", ""
}

// version is the digits after a mark, up to the first dot.
func version(ua, mark string) string {
	_, rest, _ := strings.Cut(ua, mark)
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	return rest[:n]
}

// word is what follows a mark, up to what cannot be in a name; more are the
// characters that can beside letters and digits.
func word(ua, mark, more string) string {
	_, rest, _ := strings.Cut(ua, mark)
	for i, c := range rest {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || strings.ContainsRune(
			more, c)) {
			return rest[:i]
		}
	}
	return rest
}

// between is the text between two marks, or "" without them.
func between(ua, from, to string) string {
	_, rest, ok := strings.Cut(ua, from)
	text, _, closed := strings.Cut(rest, to)
	if !ok || !closed {
		return ""
	}
	return text
}

// numbered finds a model such as iPhone14,5.
func numbered(ua string) string {
	for _, mark := range [...]string{"iPhone", "iPad", "iPod"} {
		for rest := ua; ; {
			i := strings.Index(rest, mark)
			if i < 0 {
				break
			}
			rest = rest[i+len(mark):]
			if major, minor, ok := strings.Cut(word(rest, "", ","), ","); ok && digits(major) && digits(minor) {
				return mark + major + "," + minor
			}
		}
	}
	return ""
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
