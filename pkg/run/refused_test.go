package run

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
)

// TestRedriveOfARunUnderWay: a run on which a process works is waited for, and its command is not to be run again.
func TestRedriveOfARunUnderWay(t *testing.T) {
	dir := t.TempDir()
	r, err := journal.Open(filepath.Join(dir, "aaaaaaaaaa"), nil, journal.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var busy *journal.BusyError
	if _, err = Folder(dir).Refused("aaaaaaaaaa", false); !errors.As(err, &busy) {
		t.Errorf("a run under way: %v", err)
	}
	if err = r.Close(); err != nil {
		t.Fatal(err)
	}
	var mistake *MistakeError
	if _, err = Folder(dir).Refused(Latest, false); !errors.As(err, &mistake) ||
		!strings.Contains(err.Error(), "run aaaaaaaaaa has not come to a summary yet") {
		t.Errorf("a run that was killed: %v", err)
	}
}
