// Command asyncinspect shows in a terminal what the inspector of a collector knows.
//
//	asyncinspect top                what runs, what is blocked, and on what; live
//	asyncinspect deadlocks          the deadlocks that stand, as stories
//	asyncinspect deadlocks --fail   and exit with 1 if there is one, with 3 if that is not known, for CI
//	asyncinspect health             exit with 0 if the collector lives, else with 1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/charmbracelet/x/term"
)

// Exit codes.
const (
	exitDeadlock  = 1 // deadlocks --fail has found one
	exitUnhealthy = 1 // health: the collector does not say that it lives
	exitUsage     = 2
	exitProblem   = 3 // the collector does not answer, or refuses to, or does not know
)

const usage = `asyncinspect shows what the tasks of a fleet are doing, from the inspector of a collector.

  asyncinspect top                 live table of tasks; deadlocks; details
  asyncinspect deadlocks [--fail]  the deadlocks that stand; --fail: exit with 1 if there is one, with 3 if that is not known
  asyncinspect health              exit with 0 if the collector lives, else with 1
  asyncinspect version

Flags, for all of them:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, in io.Reader, out, complain io.Writer) int {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	var o options
	flags := o.flags(command, complain)
	switch command {
	case "top", "deadlocks", "health":
	case "version", "--version":
		fmt.Fprintln(out, version())
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(complain, usage)
		flags.PrintDefaults()
		return 0
	case "":
		fmt.Fprint(complain, usage)
		flags.PrintDefaults()
		return exitUsage
	default:
		fmt.Fprintf(complain, "asyncinspect: there is no command %q\n\n%s", command, usage)
		flags.PrintDefaults()
		return exitUsage
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(complain, "asyncinspect %s: does not know what to do with %q\n", command, flags.Arg(0))
		return exitUsage
	}
	client, err := o.client()
	if err != nil {
		fmt.Fprintf(complain, "asyncinspect: %v\n", err)
		return exitUsage
	}
	switch command {
	case "deadlocks":
		return deadlocks(ctx, client, o, out, complain)
	case "health":
		return health(ctx, client, out, complain)
	}
	if !isTerminal(in) || !isTerminal(out) {
		fmt.Fprintln(complain, "asyncinspect top: needs a terminal for its input and output; in a script, use asyncinspect deadlocks or the API below /api/v1")
		return exitUsage
	}
	if err := top(ctx, client, o.interval, in, out); err != nil {
		fmt.Fprintf(complain, "asyncinspect: %v\n", err)
		return exitProblem
	}
	return 0
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(file.Fd())
}

// released is set when a release is built.
var released string

// version is that of the release or of the module, or the revision that it was built from.
func version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
