package source

import "testing"

// TestGeneration: what has the name of a generation of a log, and what has not.
func TestGeneration(t *testing.T) {
	for _, name := range []string{"app.log.1", "app.log.12.gz", "app.log-20240501", "app.log-20240501-1714521600.zst",
		"app.log.2024-05-01T10:00:00Z.xz", "app.1.log", "app-2024-05-01.log.gz", "app.2024-05-01.0.log.bz2", "app_1.log",
		"app.log.2024-05-01_10.30"} {
		if !isGeneration("app.log", name) {
			t.Errorf("%s is no generation of app.log", name)
		}
	}
	for _, name := range []string{"app.log", "app.log.gz", "app.log.offset", "app.log.old", "app1.log", "application.1.log",
		"app.error.log", "app.log.1.swp", "other.log.1", "app.1.txt", "app.log1", "app.v2.log", ".app.log.1"} {
		if isGeneration("app.log", name) {
			t.Errorf("%s is a generation of app.log", name)
		}
	}
	if !isGeneration("access", "access.1") || isGeneration("access", "access1") {
		t.Error("a log without an extension")
	}
}
