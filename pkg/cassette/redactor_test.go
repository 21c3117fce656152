package cassette

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestGateNamesThePlace checks that a leak names its place, and masks the value.
func TestGateNamesThePlace(t *testing.T) {
	red := sample.Redactor("", redact.Secret{Name: "API_KEY", Value: "hunter2hunter2"})
	i := sample.Order()
	i.Response.Body = `{"users":[{"note":"fine"},{"note":"hunter2hunter2"}]}`
	c := &Cassette{Path: filepath.Join(t.TempDir(), "c.yaml"), Interactions: []*Interaction{sample.Order(), i}}
	err := c.Save(red)
	want := "interaction 1, response.body $.users[1].note: the value of API_KEY, hu******r2 (14 characters)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if strings.Contains(err.Error(), "hunter2hunter2") {
		t.Error("the report holds the secret")
	}
	if entries, err := os.ReadDir(filepath.Dir(c.Path)); err != nil || len(entries) > 0 {
		t.Errorf("files were written: %v %v", entries, err)
	}
}

// TestLinesThatSayTheyAreWritten checks that the persons in a file of lines count as
// invented only if its first line says so.
func TestLinesThatSayTheyAreWritten(t *testing.T) {
	const said, person = `{"written":"from documentation"}` + "\n", `{"body":{"email":"eva.muster@mail.test-shop.com"}}` +
		"\n"
	for text, want := range map[string]bool{said + person: true, person + said: false, person: false} {
		path := filepath.Join(t.TempDir(), "requests.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		scan, err := ScanFile(sample.Redactor(""), path)
		if err != nil {
			t.Fatal(err)
		}
		if scan.Written != want || len(scan.Leaks) == 0 {
			t.Errorf("%s: written: %v, %d leaks", text, scan.Written, len(scan.Leaks))
		}
	}
}

// TestEveryLeakIsListed checks that one leak in a body does not hide the others.
func TestEveryLeakIsListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	body := `{"user":"eva.muster@mail.test-shop.com","keys":{"a":"AKIA` + `QYLPMN5HHHFPZAM2"}}`
	log := "login of eva.muster@mail.test-shop.com\nwith password=Korrekt77-pferd\n"
	c := &Cassette{Path: path, Interactions: []*Interaction{sample.Order(), sample.Order(), sample.Order()}}
	c.Interactions[0].Response.Body, c.Interactions[1].Response.Body = body, log
	c.Interactions[2].Response.Body = `{"log":"a line\nlogin of ada.k@mail.test-shop.com\n","json":"{\"password\":\"Korrekt78-pferd\"}"}`
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	scan, err := ScanFile(sample.Redactor(""), path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range scan.Leaks {
		got = append(got, fmt.Sprintf("%d %s %s", l.Interaction, l.Path, l.Kind))
	}
	want := []string{"0 response.body $.keys.a aws", "0 response.body $.user email", "1 response.body email",
		"1 response.body password", "2 response.body $.json $.password password", "2 response.body $.log email"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
