// Package manual writes the man pages: one of section 1 for each command, one of
// section 7 for each help topic. They come out of the same values as --help and
// help TOPIC, so they cannot say anything else.
package manual

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Topic is a help topic: its name, as in `fanfold help NAME`, and its plain text.
type Topic struct {
	Name string
	Text []byte
}

// Write makes the folder dir and writes the pages of root, of the commands below it,
// and of the topics. The date and the version stand at the foot of each page: the same
// ones give the same bytes.
func Write(dir string, root *cobra.Command, topics []Topic, version string, date time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := root.Name()
	root.DisableAutoGenTag = true
	head := doc.GenManHeader{Section: "1", Date: &date, Source: name + " " + version, Manual: name}
	if err := doc.GenManTree(root, &head, dir); err != nil {
		return err
	}
	for _, t := range topics {
		path := filepath.Join(dir, name+"-"+t.Name+".7")
		if err := os.WriteFile(path, page(name, t, version, date), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// page sets a topic as it is: it is laid out for a terminal already.
func page(command string, t Topic, version string, date time.Time) []byte {
	var b bytes.Buffer
	title := command + "-" + t.Name
	fmt.Fprintf(&b, ".TH %q 7 %q %q %q\n", strings.ToUpper(title), date.Format("Jan 2006"), command+" "+version, command)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- help about %s\n.SH DESCRIPTION\n.nf\n", escape(title), escape(t.Name))
	for line := range strings.Lines(string(t.Text)) {
		b.WriteString(escape(strings.TrimSuffix(line, "\n")) + "\n")
	}
	fmt.Fprintf(&b, ".fi\n.SH SEE ALSO\n.BR %s (1)\n", escape(command))
	return b.Bytes()
}

// escape has roff print what stands there: a backslash begins an escape, a period or
// an apostrophe at the start of a line a request, and a bare hyphen becomes a longer one.
func escape(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "\\`", "'", `\(aq`, "^", `\(ha`, "~", `\(ti`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
