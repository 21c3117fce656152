package api

import (
	"strings"
	"testing"
)

// FuzzTemplate: a template is refused or read, and what is read stands for the same text.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"", "a", "{{a}}", "{{ a.b }}/x", "{{settings.k}}", "{{", "}}", "{{}}", "{{{a}}}",
		"{{a}}}}", "{a}",
		"{{a\n}}", "{{\x00}}", "ä{{ö}}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := parse(text)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("%.100q: an error of %d bytes", text, len(err.Error()))
			}
			return
		}
		again := ""
		for _, p := range tpl {
			if p.name != "" {
				again += "{{" + p.name + "}}"
			} else {
				again += p.text
			}
			if p.name == "" && (p.text == "" || strings.Contains(p.text, "{{") || strings.Contains(p.text, "}}")) ||
				p.name != "" && !nameForm.MatchString(p.name) {
				t.Errorf("%q: %q", text, p)
			}
		}
		if other, err := parse(again); err != nil || len(other) != len(tpl) {
			t.Errorf("%q is read as %q, which is read as %q: %v", text, again, other, err)
		}
	})
}
