package source

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Verify says whether a local object that a run has frozen is still what it
// was: a *ChangedError when its bytes differ. An object that is gone passes,
// since a run that has read it does not need it any more; one that has not
// fails when it comes to it. Remote objects are checked when they are read.
func Verify(obj Object) error {
	if strings.Contains(obj.Name, "://") || obj.Name == "-" {
		return nil
	}
	now, err := describe(obj.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at %s: %w", obj.Name, err)
	case now.Fingerprint != obj.Fingerprint:
		return &ChangedError{obj.Name, fmt.Sprintf("it had %d bytes and has %d, with another fingerprint", obj.Size, now.Size)}
	}
	return nil
}
