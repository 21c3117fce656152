package reference

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a command prints is the value, without the line's end; what it says beside it
// goes to the user, and no secret is in an error.
func TestCommands(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: the commands are those of a Unix shell")
	}
	for _, c := range []struct{ command, value, said, err string }{
		{"printf s3cret", "s3cret", "", ""},
		{"echo s3cret; echo unlocked >&2", "s3cret", "unlocked\n", ""},
		{"printf 'a\\nb\\r\\n\\n'", "a\nb", "", ""},
		{"cat", "from the terminal", "", ""},
		{"echo s3cret; exit 3", "", "", "the command failed: exit status 3"},
		{"no-such-password-manager", "", "", "the command failed"},
		{"yes s3cret", "", "", "the command prints more than 1024 KiB"}, // without end: more than a value can have
		{"(sleep 5 &) ; echo s3cret", "s3cret", "", ""},                 // an agent that it starts holds the output open
	} {
		var said bytes.Buffer
		f := Fetcher{Now: time.Now, Terminal: strings.NewReader("from the terminal"), Err: &said}
		got, err := f.Fetch("exec", c.command)
		switch {
		case c.err == "" && (err != nil || got != c.value):
			t.Errorf("%s: %q, %v", c.command, got, err)
		case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err) || strings.Contains(err.Error(), "s3cret")):
			t.Errorf("%s: %v", c.command, err)
		}
		if c.said != "" && said.String() != c.said {
			t.Errorf("%s: said %q", c.command, said.String())
		}
	}
	if _, err := (&Fetcher{}).Fetch("vault", "x"); err == nil {
		t.Error("a scheme that nobody knows is asked")
	}
}

// A .env that cannot be read is named with its line, never with what stands there.
func TestDotenv(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[string]string
		err        string
	}{
		{"usual", "# staging\nA=1\nexport B=\"two words\"\n\nC='$A'\n", map[string]string{"A": "1", "B": "two words",
			"C": "$A"}, ""},
		{"empty", "", map[string]string{}, ""},
		{"dollars", "A=k9$7Qz$Xw2\nB=\"a$(X)$HOME${NO}\"\nC='$A'\nD=$$\nE=\"\\$A\"\n", map[string]string{"A": "k9$7Qz$Xw2",
			"B": "a$(X)$HOME${NO}", "C": "$A", "D": "$$", "E": "$A"}, ""},
		{"other lines", "A=a1\nB=${A}-$A$NO\nC=\"$A/b\"\n", map[string]string{"A": "a1", "B": "a1-a1$NO", "C": "a1/b"}, ""},
		{"a mark of UTF-8 before it", "\ufeffA=1\n", map[string]string{"A": "1"}, ""},
		{"Latin-1", "A=1\nB=\xe4\n", nil, "line 2 is not UTF-8"},
		{"no assignment", "A=1\nB=2\nhunter2 is the password\n", nil, "line 3"},
		{"open quotes", "A=1\nB=\"hunter2\n", nil, "line 2"},
		{"too large", "A=" + strings.Repeat("x", MaxBytes), nil, "larger than 1024 KiB"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Dotenv(filepath.Join(dir, "fanfold.yaml"))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		for k, v := range c.want {
			if got[k] != v {
				t.Errorf("%s: %s is %q, want %q", c.name, k, got[k], v)
			}
		}
	}
	// A folder of this name is somebody else's, and none is no mistake.
	dir := t.TempDir()
	for range 2 {
		if got, err := Dotenv(filepath.Join(dir, "fanfold.yaml")); got != nil || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, ".env"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNobodyWaits: a command that hangs ends with whoever waits for it, and so does what it has started.
func TestNobodyWaits(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: the commands are those of a Unix shell")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := exec.Command("mkfifo", pipe).Run(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	over := errors.New("somebody has had enough")
	begun := make(chan *os.File, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		from, err := os.Open(pipe)
		if err == nil {
			_, err = from.Read(make([]byte, 1)) // the inner shell is under way
		}
		begun <- from
		cancel(errors.Join(over, err))
	}()
	f := Fetcher{Err: io.Discard, Until: ctx}
	_, err := f.Fetch("exec", "sh -c 'exec 3> "+pipe+"; printf x >&3; sleep 3600'; true")
	if !errors.Is(err, over) {
		t.Errorf("it says %v", err)
	}
	from := <-begun
	defer from.Close()
	if _, err := io.ReadAll(from); err != nil { // until nobody is left who could write to it
		t.Error(err)
	}
}
