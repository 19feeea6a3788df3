//lint:file-ignore U1000 The converted kernels use this.

// Command kernels runs one of the kernels of GoKer, which the toolchain carries for the
// tests of its goroutine leak profile. The kernels are no part of this package: a test
// converts them and builds them together with it.
//
// A kernel starts goroutines, lets them run, and asks for the leak profile. Here it gets
// a report of async-inspect instead, which goes to the standard output as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

var (
	export = flag.Bool("export", false, "send reports as the environment says, and no report of its own")
	after  = flag.Duration("after", time.Second, "how long the kernel is left alone at the end")
)

// What the kernels use of their own main function.

const yieldCount = 10

var kernels = make(map[string]func())

func register(name string, run func()) { kernels[name] = run }

func main() {
	flag.Parse()
	run := kernels[flag.Arg(0)]
	if run == nil {
		fmt.Fprintf(os.Stderr, "there is no kernel %q; there are %q\n", flag.Arg(0), slices.Sorted(maps.Keys(kernels)))
		os.Exit(2)
	}
	options := []inspect.Option{inspect.WithServiceName(flag.Arg(0))}
	if !*export {
		options = append(options, inspect.WithoutExport(), inspect.WithReports(false))
	}
	if _, err := inspect.Start(context.Background(), options...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	peers.listen()
	run()
	leave()
}

// leave says goodbye and ends the program.
func leave() {
	_ = inspect.Shutdown(context.Background())
	os.Exit(0)
}

// pprof takes the place of package runtime/pprof in a kernel.
var pprof profiles

type profiles struct{}

func (profiles) Lookup(string) profile { return profile{} }

type profile struct{}

// report is a goker.Report.
type report struct {
	Deadlocks map[string]int
	Waiting   map[string]int
	Leaked    int
	Peer      map[string]int
}

// WriteTo ends the program with a report.
func (profile) WriteTo(io.Writer, int) (int64, error) {
	time.Sleep(*after)
	if *export {
		leave()
	}
	r := report{
		Deadlocks: make(map[string]int), Waiting: make(map[string]int),
		Peer: peers.said(), Leaked: leaked(),
	}
	for _, d := range inspect.Deadlocks() {
		r.Deadlocks[string(d.Confidence)]++
	}
	for _, t := range inspect.Tasks() {
		if t.Wait == nil || time.Since(t.Wait.Since) < *after/2 {
			continue
		}
		r.Waiting[fmt.Sprintf("%s at %s", t.Wait.Kind, t.Wait.Place)]++
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
	return 0, nil
}
