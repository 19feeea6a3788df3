//lint:file-ignore U1000 The converted kernels use this.

package main

import (
	"bytes"
	"maps"
	runtimepprof "runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/sasha-s/go-deadlock"
)

// peers counts what go-deadlock reports, by kind.
var peers = peerReports{kinds: make(map[string]int)}

type peerReports struct {
	mu    sync.Mutex
	kinds map[string]int
}

// listen makes go-deadlock go on after a report.
func (p *peerReports) listen() {
	deadlock.Opts.DeadlockTimeout = time.Second
	deadlock.Opts.LogBuf = p
	deadlock.Opts.OnPotentialDeadlock = func() {}
}

// Write takes the text of a report, which begins with a line of its own.
func (p *peerReports) Write(text []byte) (int, error) {
	if _, after, ok := strings.Cut(string(text), "POTENTIAL DEADLOCK:"); ok {
		kind, _, _ := strings.Cut(strings.TrimSpace(after), " ")
		if kind == "" {
			kind = "Timeout"
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.kinds[kind]++
	}
	return len(text), nil
}

func (p *peerReports) said() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.kinds)
}

// leaked asks the runtime's leak profile, where that experiment is on.
func leaked() int {
	profile := runtimepprof.Lookup("goroutineleak")
	if profile == nil {
		return 0
	}
	var text bytes.Buffer
	if err := profile.WriteTo(&text, 2); err != nil {
		return 0
	}
	return strings.Count(text.String(), "(leaked)")
}
