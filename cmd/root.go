// Package cmd is the command line: the only home of flags, configuration,
// printing, exit codes, the environment and the real clock.
//
// Every command is a constructor that takes the [app], which carries the
// outside world, so that tests run commands in their own process. Errors are
// returned; exit.go turns them into exit codes, in one place.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/profile"
	"github.com/fanfold/fanfold/pkg/progress"
	"github.com/fanfold/fanfold/pkg/recording"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/source"
)

// Build says which build of fanfold this is.
type Build struct{ Version, Commit, Date string }

// app is what a command needs of the outside world.
type app struct {
	build       Build
	args        []string
	in          io.Reader
	disk        source.Disk           // where input lies and is kept
	schemes     func() source.Schemes // what --from may name
	out, err    io.Writer
	env         func(string) (string, bool)
	environ     func() []string // nil: there is nobody to be told of slips in it
	now         func() time.Time
	viper       *viper.Viper
	catalogue   destination.Catalogue
	log         *slog.Logger
	interrupts  *interrupts
	opening     context.Context // of a run that is being opened: the first signal ends it
	secrets     secrets
	wire        *recording.Wire // while our own requests are recorded or replayed
	configFile  string
	configText  configText
	profile     string            // of the configuration
	dotenv      map[string]string // beside it
	configGiven bool              // by --config, not found
	hasProfile  bool              // by --profile or the environment, not remembered
	profiles    profile.Files
	collecting  runtime.Cleanup // of the heap, from tuneStart on
}

// Execute runs the command line and returns its exit code.
func Execute(b Build, args []string) int {
	signals := catchInterrupts()
	// What Go's runtime cannot survive (no memory left, a bug) ends the process by a
	// signal: its own exit code would be 2, which says that nothing was sent.
	debug.SetTraceback("crash")
	noCores()
	ignoreLimits()
	a := &app{
		build: b, interrupts: signals, in: os.Stdin, out: os.Stdout, err: progress.Terminal(os.Stderr),
		env: os.LookupEnv, environ: os.Environ, now: time.Now, disk: source.OSDisk{}, schemes: source.Known,
		catalogue: destinations.Catalogue(),
	}
	log.SetFlags(0)
	log.SetOutput(plainLog{a})
	a.tuneStart()
	return a.execute(context.Background(), args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	a.out, a.err = printable.NewWriter(a.out, nil), printable.NewWriter(a.err, a.secrets.redact)
	root := a.root()
	root.SetArgs(args)
	a.args = args
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	err = errors.Join(err, a.profiles.Stop())
	err = run.Distinct(err, func(err error) error { return err })
	for _, e := range run.Leaves(err) {
		for _, one := range sentences(e) {
			if msg := a.secrets.redact(one.Error()); msg != "" {
				a.say(msg)
			}
		}
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	a.viper = viper.New() // until the options are read
	root := &cobra.Command{
		Use:   "fanfold",
		Short: "Replay and forward customer events to many partner APIs, each at its own pace",
		Long: `fanfold reads event archives (files, directories, standard input), runs every
event through one engine, and delivers it to many partner APIs at once. A slow,
broken or hostile partner holds up nobody else. Run the same command again and
it goes on where it was. At the end it says what became of every event.

  fanfold forward --from events.jsonl.zst --to mixpanel,webhook
  fanfold forward --from cassettes/events/shop.jsonl.zst --to mixpanel --rehearse`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			return a.begin(c)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	p := root.PersistentFlags()
	p.StringVar(&a.configFile, "config", "", "configuration file, instead of looking for fanfold.yaml")
	p.StringVar(&a.profile, "profile", "",
		"profile of the configuration, merged over the rest of it (also $FANFOLD_PROFILE)")
	for _, name := range []string{"state-dir", "log-level", "log-format"} {
		globalFlag(p, new(string), name)
	}
	p.StringVar(&a.profiles.CPU, "cpuprofile", "", "write a CPU profile to this file")
	p.StringVar(&a.profiles.Heap, "memprofile", "", "write a heap profile to this file")
	p.StringVar(&a.profiles.Trace, "exectrace", "", "write an execution trace to this file")
	for _, hidden := range []string{"cpuprofile", "memprofile", "exectrace"} {
		if err := p.MarkHidden(hidden); err != nil {
			panic(err)
		}
	}
	root.AddCommand(a.forwardCommand(), a.planCommand(), a.previewCommand(), a.explainCommand(),
		a.redriveCommand(), a.runsCommand(), a.topCommand(), a.reportCommand(), a.recordCommand(), a.replayCommand(),
		a.cassettesCommand(), a.destinationsCommand(), a.configCommand(), a.importWorkspaces(),
		newEvalCommand(), a.versionCommand(), a.generateCommand(), a.sinkCommand(), a.completionsCommand())
	root.AddCommand(a.manCommand(root))
	root.SetHelpCommand(a.helpCommand(root))
	root.InitDefaultHelpCmd()
	a.arguments(root)
	a.completions(root)
	return root
}

// begin reads configuration and sets up logging, before every command.
func (a *app) begin(c *cobra.Command) error {
	if c.Annotations[stopsInOrder] == "" {
		if err := a.interrupts.leave(); err != nil {
			return err
		}
	}
	err := a.profiles.Start()
	if err != nil {
		return err
	}
	if err = a.readGlobals(c); err != nil {
		return err
	}
	if path := c.CommandPath(); !needsNoConfig(c) || path == "fanfold config check" {
		a.doubtVariables(c.Flags())
	}
	a.log, err = secret.NewLogger(a.err, a.viper.GetString("log-level"), a.viper.GetString("log-format"),
		a.secrets.redact)
	if err != nil {
		return &usageError{err}
	}
	return nil
}

// stateDir is where runs are kept.
func (a *app) stateDir() (string, error) {
	if dir := a.viper.GetString("state-dir"); dir != "" {
		return dir, nil
	}
	// What is no whole path would depend on the folder that one happens to be in.
	for _, place := range []struct {
		variable string
		under    []string
	}{{"XDG_STATE_HOME", nil}, {"HOME", []string{".local", "state"}}, {"USERPROFILE", []string{".local", "state"}}} {
		if dir, _ := a.env(place.variable); filepath.IsAbs(dir) {
			return filepath.Join(append(append([]string{dir}, place.under...), "fanfold")...), nil
		}
	}
	return "", usagef("there is no place for the state of runs: neither XDG_STATE_HOME nor HOME names a folder; say " +
		"one with --state-dir")
}

// say prints sentences to standard error, each a line of its own.
func (a *app) say(sentences ...string) {
	for _, s := range sentences {
		fmt.Fprintln(a.err, "fanfold: "+s)
	}
}

func (a *app) sayf(format string, args ...any) { a.say(fmt.Sprintf(format, args...)) }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			line := "fanfold " + a.build.Version
			if a.build.Commit != "" {
				line += " (" + a.build.Commit + ", " + a.build.Date + ")"
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s %s %s/%s\n", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func (a *app) completionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "write-completions DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Write the completion scripts that a release packs",
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			return errors.Join(
				root.GenBashCompletionFileV2(filepath.Join(args[0], "fanfold.bash"), true),
				root.GenZshCompletionFile(filepath.Join(args[0], "_fanfold")),
				root.GenFishCompletionFile(filepath.Join(args[0], "fanfold.fish"), true),
				root.GenPowerShellCompletionFileWithDesc(filepath.Join(args[0], "fanfold.ps1")),
			)
		},
	}
}
