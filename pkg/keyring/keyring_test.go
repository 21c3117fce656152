package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecrets: what looks like a credential by its variable's name is one, but no switch,
// number or file; of an address only its credentials are.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Secrets([]string{
		"API_KEY=abcdefgh12345678", "PATH=/bin", "USE_TOKEN=true", "KEY_COUNT=12", "TLS_KEY=" + file, "EMPTY_SECRET=",
		"DB_PASS=hunter22", "WEBHOOK_TOKEN=https://user:pa55word@host.example/?sig=0123456789abcdef&v=1",
		"PLAIN=named-by-the-user",
	}, []string{"PLAIN"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range got {
		all = append(all, s.Name+"="+s.Value)
	}
	want := "API_KEY=abcdefgh12345678 KEY_COUNT=12 DB_PASS=hunter22 WEBHOOK_TOKEN=pa55word " +
		"WEBHOOK_TOKEN=0123456789abcdef PLAIN=named-by-the-user"
	if text := strings.Join(all, " "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	for _, name := range []string{"NOWHERE", "SHORT"} {
		if _, err := Secrets([]string{"SHORT=x"}, []string{name}); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKey: a key is made at the root of the repository, kept out of it, and found from
// every folder below; one that is too short is refused.
func TestKey(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := errors.Join(os.MkdirAll(deep, 0o700), os.Mkdir(filepath.Join(root, ".git"), 0o700),
		os.WriteFile(filepath.Join(root, ".gitignore"), []byte("/bin"), 0o600)); err != nil {
		t.Fatal(err)
	}
	key, place, err := Find(filepath.Join(deep, "c.yaml"))
	if err != nil || key != nil || place != (Place{root, true}) {
		t.Fatalf("before: %q, %+v, %v", key, place, err)
	}
	made, path, err := place.Create(bytes.NewReader(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	key, _, err = Find(filepath.Join(deep, "c.yaml"))
	if err != nil || !bytes.Equal(key, made) || len(key) != 64 || path != filepath.Join(root, File) {
		t.Errorf("found %q, made %q in %s: %v", key, made, path, err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil || string(ignored) != "/bin\n/"+File+"\n" {
		t.Errorf(".gitignore: %q, %v", ignored, err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var short *ShortError
	if _, _, err := Find(filepath.Join(deep, "c.yaml")); !errors.As(err, &short) || short.Path != path {
		t.Errorf("a short key: %v", err)
	}
}
