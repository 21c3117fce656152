package source

import "testing"

// TestGeneration: what has the name of a generation of a log, and what has not.
func TestGeneration(t *testing.T) {
	for _, name := range []string{"app.log.1", "app.log.12.gz", "app.log-20240501", "app.log-20240501-1714521600.zst",
		"app.log.2024-05-01T10:00:00Z.xz", "app.1.log", "app-2024-05-01.log.gz", "app.2024-05-01.0.log.bz2", "app_1.log",
		"app.log.2024-05-01_10.30"} {
		if !isGeneration("app.log", name, true) {
			t.Errorf("%s is no generation of app.log", name)
		}
	}
	for _, name := range []string{"app.log", "app.log.gz", "app.log.offset", "app.log.old", "app1.log",
		"application.1.log",
		"app.error.log", "app.log.1.swp", "other.log.1", "app.1.txt", "app.log1", "app.v2.log", ".app.log.1"} {
		if isGeneration("app.log", name, true) {
			t.Errorf("%s is a generation of app.log", name)
		}
	}
	for name, want := range map[string]bool{"app-2.log": false, "app.12.log.gz": false, "app.log.2": true,
		"app-20240501.log": true, "app-24-05-01.log": true, "app-2024-05-01T10.log.zst": true} {
		if isGeneration("app.log", name, false) != want {
			t.Errorf("%s, of which no generation has a number before its extension", name)
		}
	}
	if !isGeneration("access", "access.1", false) || isGeneration("access", "access1", true) {
		t.Error("a log without an extension")
	}
}
