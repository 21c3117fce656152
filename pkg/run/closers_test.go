package run

import (
	"errors"
	"testing"
)

// TestClosers: the last first, and every error counts.
func TestClosers(t *testing.T) {
	var order string
	var c closers
	for _, name := range []string{"a", "b", "c"} {
		c.add(func() error {
			order += name
			if name == "b" {
				return nil
			}
			return errors.New(name)
		})
	}
	if err := c.close(); order != "cba" || err == nil || err.Error() != "c\na" {
		t.Errorf("closed in the order %s: %v", order, err)
	}
	if err := c.close(); err != nil || order != "cba" {
		t.Errorf("closed twice: %v, %s", err, order)
	}
}
