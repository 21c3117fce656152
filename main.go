// fanfold replays and forwards customer events: it reads event archives and
// delivers them to many partner APIs at once, each at its own pace.
package main

import (
	"os"

	"github.com/fanfold/fanfold/cmd"
)

// Set by the linker when a release is built.
var (
	version = "dev"
	commit  = ""
	date    = ""
)

func main() {
	os.Exit(cmd.Execute(cmd.Build{Version: version, Commit: commit, Date: date}, os.Args[1:]))
}
