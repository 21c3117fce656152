package agent

import "strings"

// browsers are the names that Mixpanel's own libraries give to user agents, in
// the order in which they are looked for, and what stands before the version.
var browsers = [...]struct {
	has, without []string // any of has, none of without
	name         string
	version      []string
}{
	{[]string{" OPR/"}, nil, "Opera", []string{"Opera/", "OPR/"}},
	{[]string{"BlackBerry", "PlayBook", "BB10"}, nil, "BlackBerry", []string{"BlackBerry "}},
	{[]string{"IEMobile", "WPDesktop"}, nil, "Internet Explorer Mobile", []string{"rv:"}},
	{[]string{"SamsungBrowser/"}, nil, "Samsung Internet", []string{"SamsungBrowser/"}},
	{[]string{"Edge", "Edg/"}, nil, "Microsoft Edge", []string{"Edge/", "Edg/"}},
	{[]string{"FBIOS"}, nil, "Facebook Mobile", nil},
	{[]string{"Chrome"}, nil, "Chrome", []string{"Chrome/"}},
	{[]string{"CriOS"}, nil, "Chrome iOS", []string{"CriOS/"}},
	{[]string{"UCWEB", "UCBrowser"}, nil, "UC Browser", []string{"UCBrowser/", "UCWEB/"}},
	{[]string{"FxiOS"}, nil, "Firefox iOS", []string{"FxiOS/"}},
	{[]string{"Safari"}, []string{"iPhone"}, "Safari", []string{"Version/"}},
	{[]string{"Safari"}, nil, "Mobile Safari", []string{"Version/"}},
	{[]string{"Android"}, nil, "Android Mobile", []string{"android "}},
	{[]string{"Konqueror"}, nil, "Konqueror", []string{"Konqueror:"}},
	{[]string{"Firefox"}, nil, "Firefox", []string{"Firefox/"}},
	{[]string{"MSIE", "Trident/"}, nil, "Internet Explorer", []string{"rv:", "MSIE "}},
	{[]string{"Gecko"}, nil, "Mozilla", []string{"rv:"}},
}

func anyIn(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// Browser is what Mixpanel's own libraries call the browser of a user agent, and its version.
type Browser struct{ Name, Version string }

// ReadBrowser reads a user agent.
func ReadBrowser(agent string) *Browser {
	name, version := browserOf(agent)
	return &Browser{name, version}
}

// browserOf names the browser of a user agent and its version.
func browserOf(agent string) (name, version string) {
	for i := range browsers {
		b := &browsers[i]
		if !anyIn(agent, b.has) || anyIn(agent, b.without) {
			continue
		}
		if b.name == "Opera" && strings.Contains(agent, "Mini") {
			return "Opera Mini", ""
		}
		return b.name, versionAfter(agent, b.version)
	}
	return "", ""
}

// versionAfter finds the first of the marks that is followed by a version of at
// least two numbers.
func versionAfter(agent string, marks []string) string {
	best, at := "", len(agent)
	for _, m := range marks {
		for from := 0; ; {
			i := strings.Index(agent[from:], m)
			if i < 0 {
				break
			}
			i += from
			rest := agent[i+len(m):]
			n := 0
			for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.' && n > 0 && rest[n-1] != '.' && n+1 < len(
				rest) && rest[n+1] >= '0' && rest[n+1] <= '9') {
				n++
			}
			if strings.Contains(rest[:n], ".") && i < at {
				best, at = rest[:n], i
				break
			}
			from = i + len(m)
		}
	}
	return best
}
