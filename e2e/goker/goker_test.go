package goker

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

var allKernels = flag.Bool("all", false, "run all kernels and not only those that are quick and reliable")

// attempts bounds how often a kernel runs: most of these bugs need an unlucky moment.
const attempts = 12

// finding is what is known of a kernel, the more the greater.
type finding int

const (
	nothing finding = iota
	shown           // goroutines wait, and their places are known
	// Deadlocks:
	suspected
	certain
)

func (f finding) String() string {
	return [...]string{"nothing", "shown", "suspected", "certain"}[f]
}

func (r Report) finding() finding {
	switch {
	case r.Deadlocks["certain"] > 0:
		return certain
	case r.Deadlocks["suspected"] > 0:
		return suspected
	case len(r.Waiting) > 0:
		return shown
	}
	return nothing
}

// What is found with the locks converted, and nothing else.
var foundByLocks = []string{
	"Cockroach10214", "Cockroach16167", "Cockroach3710", "Cockroach584", "Cockroach6181", "Cockroach7504",
	"Cockroach9935", "Etcd10492", "Etcd6708", "Grpc795", "Hugo3251", "Kubernetes13135", "Kubernetes30872",
	"Kubernetes62464", "Moby36114", "Moby4951", "Moby7559", "Syncthing4829",
}

// What is found besides with everything converted, and the ends declared of channels
// that a goroutine waits for while it holds a lock.
var foundByEverything = []string{
	"Etcd6873", "Etcd7492", "Etcd7902", "Grpc1460", "Hugo5379", "Istio16224", "Kubernetes10182",
	"Kubernetes26980", "Moby28462", "Serving2137",
}

// rare are the kernels that hang in few of their runs. Only -all asks for them.
var rare = []string{
	"Cockroach10214", "Cockroach3710", "Grpc1460", "Istio18454", "Kubernetes11298", "Kubernetes13135",
	"Kubernetes58107", "Kubernetes62464", "Moby27782", "Moby28462", "Moby33781", "Moby4951", "Serving2137",
}

// expected is what a kernel shows at least.
func expected(name string, form Form) finding {
	switch {
	case slices.Contains(foundByLocks, name), form == Everything && slices.Contains(foundByEverything, name):
		return suspected
	case form == Everything, slices.Contains(foundByEverything, name):
		return shown
	}
	return nothing // it waits on what was not converted
}

// Bugs of others are found: with the locks converted those that are of locks, and with
// everything converted many that are of locks and channels. What is not found is shown.
func TestKernelsAreFound(t *testing.T) {
	all := names(t)
	best := make(map[string]finding, len(all)) // of both forms
	for _, form := range []Form{Locks, Everything} {
		t.Run(string(form), func(t *testing.T) {
			program := build(t, form, false)
			found := make(map[string]finding, len(all))
			var mu sync.Mutex
			each(t, all, func(name string) error {
				want, rare := expected(name, form), slices.Contains(rare, name)
				if rare && !*allKernels || want == nothing && !*allKernels {
					return nil
				}
				f, err := run(program, name, want)
				mu.Lock()
				defer mu.Unlock()
				found[name], best[name] = f, max(best[name], f)
				if err == nil && f < want && !rare {
					err = fmt.Errorf("%s: found %q, not %q", name, f, want)
				}
				return err
			})
			t.Logf("%s: %s", form, summary(found))
		})
	}
	if *allKernels {
		t.Logf("at best: %s", summary(best))
		deadlocks, seen := 0, 0
		for _, f := range best {
			if f >= suspected {
				deadlocks++
			}
			if f >= shown {
				seen++
			}
		}
		if deadlocks < 27 || seen < 58 {
			t.Errorf("%d are found and %d are shown, of %d", deadlocks, seen, len(all))
		}
	}
}

// run runs a kernel until it shows what is wanted, and returns the best that it has shown.
func run(program, name string, want finding) (best finding, err error) {
	for range attempts {
		r, err := Run(program, name, time.Second)
		if err != nil {
			return best, err
		}
		if best = max(best, r.finding()); best >= want {
			break
		}
	}
	return best, nil
}

func summary(found map[string]finding) string {
	count := make(map[finding]int)
	for _, f := range found {
		count[f]++
	}
	return fmt.Sprintf("%d certain, %d suspected, %d shown, %d not, of %d",
		count[certain], count[suspected], count[shown], count[nothing], len(found))
}

// Where the bug is mended nothing is found, however certain.
func TestFixedKernelsAreSilent(t *testing.T) {
	names(t)
	for _, form := range []Form{Locks, Everything} {
		t.Run(string(form), func(t *testing.T) {
			program := build(t, form, true)
			each(t, Fixed(), func(name string) error {
				r, err := Run(program, name, time.Second)
				if err == nil && r.finding() > shown {
					err = fmt.Errorf("%s without its bug: %v, waiting %v", name, r.Deadlocks, r.Waiting)
				}
				return err
			})
		})
	}
}

// What others find in the same kernels: a row of the table in docs/comparison.md.
func TestPeers(t *testing.T) {
	if !*allKernels {
		t.Skip("only with -all: a table for docs/comparison.md")
	}
	type row struct{ order, timeout, leaked int }
	rows := make(map[string]row)
	for _, form := range []Form{Peer, Unchanged} {
		program := build(t, form, false)
		var mu sync.Mutex
		each(t, names(t), func(name string) error {
			var best Report
			for range attempts / 3 {
				r, err := Run(program, name, time.Second)
				if err != nil {
					return err
				}
				if best = r; best.Leaked > 0 || best.Peer["Inconsistent"]+best.Peer["Recursive"] > 0 {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			had := rows[name]
			rows[name] = row{
				had.order + best.Peer["Inconsistent"] + best.Peer["Recursive"],
				had.timeout + best.Peer["Timeout"], had.leaked + best.Leaked,
			}
			return nil
		})
	}
	var order, timeout, leaked int
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		switch r := rows[name]; {
		case r.order > 0:
			order++
		case r.timeout > 0:
			timeout++
		}
		if rows[name].leaked > 0 {
			leaked++
		}
	}
	t.Logf("of %d kernels: go-deadlock %d by order or recursion and %d more by a time-out of 1 s, the leak profile %d", len(rows), order, timeout, leaked)
}

func build(t *testing.T, form Form, fixed bool) string {
	t.Helper()
	program, err := Build(t.TempDir(), form, fixed)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func names(t *testing.T) []string {
	t.Helper()
	all, err := Names()
	if errors.Is(err, ErrNoKernels) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// each calls f for each kernel, several at a time: they mostly sleep.
func each(t *testing.T, kernels []string, f func(name string) error) {
	t.Helper()
	var (
		wg     sync.WaitGroup
		places = make(chan struct{}, 12)
	)
	for _, name := range kernels {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := f(name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
