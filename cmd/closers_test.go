package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filedest "github.com/fanfold/fanfold/destinations/file"
	"github.com/fanfold/fanfold/pkg/destination"
)

// unclosable takes every event and cannot end what it has written.
type unclosable struct{ destination.Sender }

func (unclosable) Close() error { return errors.New("no space left on device") }

// TestErrorsOfClosingCount: output that could not be completed is never a success,
// neither when sending nor in a rehearsal, and the error names whose it is.
func TestErrorsOfClosingCount(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(in, []byte(events(3)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--rehearse"}} {
		a := testApp(map[string]string{"XDG_STATE_HOME": filepath.Join(dir, "state")})
		a.catalogue = destination.Catalogue{destination.Lazy("file", func() destination.Destination {
			d := filedest.New()
			open := d.Open
			d.Open = func(c destination.Config) (destination.Sender, error) {
				s, err := open(c)
				return unclosable{s}, err
			}
			return d
		})}
		args := append([]string{"forward", "--from", in, "--to", "file", "--set", "file.path=" + filepath.Join(dir, "out")},
			more...)
		code := a.execute(context.Background(), args)
		if said := fmt.Sprint(a.err); code != exitError ||
			!strings.Contains(said, "file: ending what was written: no space left on device") {
			t.Errorf("%v: exit code %d, want %d; it said:\n%s", more, code, exitError, said)
		}
	}
}
