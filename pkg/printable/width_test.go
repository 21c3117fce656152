package printable

import "testing"

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "abc": 3, "Zürich": 6, "Zu\u0308rich": 6, "日本": 4, "한국": 4, "ｆｕｌｌ": 8, "🛒": 2, "a🛒b": 4, "→": 1, "…": 1,
		"\u200bx": 1, "✔\ufe0f": 1,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d columns, not %d", text, got, want)
		}
	}
}

func TestCutToWidth(t *testing.T) {
	for _, c := range []struct {
		text       string
		columns    int
		begin, end string
	}{
		{"abcdef", 6, "abcdef", "abcdef"}, {"abcdef", 4, "abc…", "…def"}, {"日本語日本", 10, "日本語日本", "日本語日本"},
		{"日本語日本", 6, "日本…", "…日本"}, {"日本語日本", 7, "日本語…", "…語日本"}, {"abc", 1, "…", "…"}, {"日本", 2, "…", "…"},
	} {
		begin, end := Begin(c.text, c.columns), End(c.text, c.columns)
		if begin != c.begin || end != c.end || Width(begin) > c.columns || Width(end) > c.columns {
			t.Errorf("%s in %d columns: %s, %s", c.text, c.columns, begin, end)
		}
	}
}
