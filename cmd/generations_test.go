package cmd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestGenerations rotates a log twice while nobody looks at it, in the ways that programs have of naming and
// compressing what they rotate. What stood in it between the two is read, by --follow and without it, and what was
// read before is not sent again; nor is what has the name of a generation and is a copy.
func TestGenerations(t *testing.T) {
	shift := func(name string) []string {
		return []string{strings.Replace(name, "N", "2", 1), strings.Replace(name, "N", "1", 1)}
	}
	for scheme, names := range map[string][]string{ // of the older and the newer one
		"numbers":               shift("app.log.N"),
		"numbers, gzip":         shift("app.log.N.gz"),
		"numbers, zstd":         shift("app.log.N.zst"),
		"number before .log":    shift("app.N.log"),
		"days":                  {"app.log-20240501", "app.log-20240502"},
		"days, gzip":            {"app.log.2024-05-01.gz", "app.log.2024-05-02.gz"},
		"days before .log":      {"app-2024-05-01.log", "app-2024-05-02.log"},
		"days and number, gzip": {"app.2024-05-01.0.log.gz", "app.2024-05-01.1.log.gz"},
		"seconds":               {"app.log-1714521600", "app.log-1714525200"},
		"instants":              {"app-2024-05-01T00-00-00.000.log", "app-2024-05-01T01-00-00.000.log"},
	} {
		for _, follow := range []bool{true, false} {
			if testing.Short() && !follow && scheme != "numbers, gzip" {
				continue
			}
			t.Run(scheme+map[bool]string{true: ", followed"}[follow], func(t *testing.T) {
				t.Parallel()
				p, dir := newPartner(t), t.TempDir()
				log := filepath.Join(dir, "app.log")
				write := func(name, text string) {
					t.Helper()
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				args := []string{"forward", "--from", log, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir",
					t.TempDir(), "--progress", "never", "-o", "json"}
				write("app.log", tracks(0, 10))
				if code, _, said := begin(t, args...).ends(nil); code != 0 {
					t.Fatalf("exit code %d: %s", code, said)
				}
				write("app.log.offset", "600\n") // of another program
				rotate(t, log, filepath.Join(dir, names[0]))
				write("app.log", tracks(10, 20))
				rotate(t, log, filepath.Join(dir, names[1]))
				write("app.log", tracks(20, 30))
				write("app.log.3", tracks(0, 10)) // somebody's copy
				if scheme != "number before .log" {
					write("app-2.log", tracks(900, 910)) // of another process
				}
				if follow {
					r := begin(t, append(args, "--follow", "--poll", "1s")...)
					p.await(30)
					if code, out, said := r.ends(syscall.SIGTERM); code != 0 {
						t.Fatalf("exit code %d: %s%s", code, out, said)
					}
				}
				if code, out, said := begin(t, args...).ends(nil); code != 0 {
					t.Errorf("exit code %d: %s%s", code, out, said)
				}
				p.onceBut(t, 30, 0, 0)
			})
		}
	}
}

// TestGenerationsBeginAlike: a generation is read although it begins with the same line as one that was read, and that
// is gone.
func TestGenerationsBeginAlike(t *testing.T) {
	t.Parallel()
	p, dir := newPartner(t), t.TempDir()
	log := filepath.Join(dir, "app.log")
	opens := func(from, to int) {
		t.Helper()
		const opened = `{"type":"track","event":"Log opened","messageId":"opened","userId":"collector","properties":{}}` + "\n"
		if err := os.WriteFile(log, []byte(opened+tracks(from, to)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"forward", "--from", log, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir",
		t.TempDir(), "--progress", "never"}
	runs := func(want int) {
		t.Helper()
		if code, _, said := begin(t, args...).ends(nil); code != want {
			t.Fatalf("exit code %d: %s", code, said)
		}
	}
	opens(0, 5)
	runs(0)
	rotate(t, log, log+".1")
	opens(5, 10)
	runs(0)
	for from := range 2 { // two generations are kept
		rotate(t, log+".1", log+".2")
		rotate(t, log, log+".1")
		opens(10+5*from, 15+5*from)
	}
	runs(1) // the log may be the one that is gone, changed behind its first line
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) != 21 || p.seen["opened"] != 4 {
		t.Errorf("%d events have arrived: %v", len(p.seen), p.seen)
	}
}

// rotate moves a log, and compresses it if its new name says so.
func rotate(t *testing.T, log, to string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	switch filepath.Ext(to) {
	case ".gz":
		z := gzip.NewWriter(&packed)
		_, err = z.Write(text)
		err = errors.Join(err, z.Close())
	case ".zst":
		z, _ := zstd.NewWriter(&packed)
		_, err = z.Write(text)
		err = errors.Join(err, z.Close())
	default:
		if err = os.Rename(log, to); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(to, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err = os.Chtimes(to, info.ModTime(), info.ModTime()); err != nil { // as gzip does
		t.Fatal(err)
	}
	if err = os.Remove(log); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsThatAreOver: what a followed log could not be read for, and what is over by the stop, does not count. A log
// that is moved out of sight is begun anew, and a line says what of it may not have been read.
func TestFaultsThatAreOver(t *testing.T) {
	t.Parallel()
	p, dir := newPartner(t), t.TempDir()
	log := filepath.Join(dir, "app.log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	moves := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	write(tracks(0, 10))
	r := begin(t, "forward", "--from", log, "--to", "webhook", "--set", "webhook.url="+p.URL, "--state-dir", t.TempDir(),
		"--progress", "never", "-o", "json", "--follow", "--poll", "1s")
	p.await(10)
	moves(log, log+".1")
	r.says("no such file")
	write(tracks(10, 20))
	p.await(20)
	old := t.TempDir()
	moves(log, filepath.Join(old, "app.log.1"))
	write(tracks(20, 30))
	p.await(30)
	r.says("is another file than the one of this name")
	if code, out, said := r.ends(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	p.onceBut(t, 30, 0, 0)
}
