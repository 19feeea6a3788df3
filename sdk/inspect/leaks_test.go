//go:build !noinspect

package inspect

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The runtime's goroutine leak profile finds the same leaks with this package as with
// package sync and plain channels: no table of the SDK makes reachable what a goroutine is
// stuck on. The program, testdata/leaks, prints what it found.
func TestLeakProfileFindsTheSameLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the runtime and the SDK with an experiment")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "leaks")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./testdata/leaks")
	build.Env = append(os.Environ(), "GOEXPERIMENT=goroutineleakprofile")
	if out, err := build.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "unknown GOEXPERIMENT") {
			t.Skipf("this toolchain has no goroutine leak profile: %s", out)
		}
		t.Fatalf("build testdata/leaks: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, program).CombinedOutput()
	if err != nil {
		t.Fatalf("testdata/leaks: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "no goroutine leak profile") {
		t.Skip("this runtime has no goroutine leak profile")
	}
	result := regexp.MustCompile(`(?m)^(.*): found (\d+), blocked (\d+), want (\d+)$`)
	results := result.FindAllStringSubmatch(string(out), -1)
	if len(results) < 100 {
		t.Fatalf("only %d results:\n%s", len(results), out)
	}
	for _, r := range results {
		if r[2] != r[4] || r[3] != r[4] {
			t.Errorf("%s: the profile found %s of %s blocked goroutines, want %s", r[1], r[2], r[3], r[4])
		}
	}
	if !strings.Contains(string(out), "all waits shown, with their names and holders") {
		t.Errorf("the SDK does not show what the profile found:\n%s", out[max(0, len(out)-2000):])
	}
}

// lose makes the resource of a goroutine's wait unreachable, as the runtime may do with
// what only leaked goroutines refer to.
func lose(t *testing.T, goroutine uint64) (back func()) {
	t.Helper()
	s := shardOf(goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := s.waits.back; o != nil; o = o.prev {
		if o.goroutine == goroutine {
			frame := o.frame
			o.frame = weak.Pointer[wait]{}
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				o.frame = frame
			}
		}
	}
	t.Fatalf("goroutine %d does not wait", goroutine)
	return nil
}

// A wait whose resource is unreachable is shown with its name and without holders, proves
// nothing in the process, and is reported as it was reported before.
func TestAWaitWhoseResourceIsUnreachable(t *testing.T) {
	r := newReporterRig(t)
	m := NewMutex("lost stock")
	_, holder := r.ins.Begin(context.Background(), "stocktaking")
	m.Lock()
	var ended sync.WaitGroup
	waiter := r.blockedOn(m, "reserve", &ended)
	first := r.oneAfter(1500 * time.Millisecond)
	if len(first.Links) != 1 {
		t.Fatalf("the holder is not reported: %v", first)
	}

	back := lose(t, waiter.goroutine.Load())
	w, ok := waitOf(waiter.goroutine.Load())
	if info := w.info(); !ok || info.Resource != "lost stock" || info.Complete || len(info.Holders) > 0 || info.Kind != taskspan.WaitMutex {
		t.Errorf("it shows as %+v", info)
	}
	if d := Deadlocks(); len(d) > 0 {
		t.Errorf("it proves %v", d)
	}
	r.nothingAfter(500*time.Millisecond, "nothing is known to have changed")
	again := r.oneAfter(time.Second)
	if !proto.Equal(&tracepb.Span{Links: again.Links}, &tracepb.Span{Links: first.Links}) ||
		reported(again, taskspan.WaitRevision).GetIntValue() != 1 || !reported(again, taskspan.WaitHoldersComplete).GetBoolValue() {
		t.Errorf("it is reported as %v, and was as %v", again, first)
	}

	other := r.blockedOn(m, "lost from the start", &ended)
	backToo := lose(t, other.goroutine.Load())
	for _, s := range r.after(1500 * time.Millisecond) {
		if len(s.Links) > 0 && reported(s, taskspan.TaskName).GetStringValue() == "lost from the start" {
			t.Errorf("holders that nobody could read: %v", s)
		}
		if reported(s, taskspan.TaskName).GetStringValue() == "lost from the start" && reported(s, taskspan.WaitResourceName).GetStringValue() != "lost stock" {
			t.Errorf("without its name: %v", s)
		}
	}

	back()
	backToo()
	m.Unlock()
	holder.End(nil)
	ended.Wait()
	for _, s := range r.after(time.Second) {
		if open := reported(s, taskspan.WaitOpen); open != nil && open.GetBoolValue() {
			t.Errorf("it is still open: %v", s)
		}
	}
}
